"""Looks at a page of `trilane report` in Chromium, and fails where a person could not read it.

    report.py FILE

By day and by night, on a desk and on a phone: nothing is fetched, no error is said, nothing is cut off, every chart has
marks and a description, every table has headers, and all text stands out from what it lies on. Where TRILANE_SHOTS names a
folder, pictures are put there.
"""

import os
import pathlib
import sys

from dashboard import FLAGS, Page
from playwright.sync_api import sync_playwright

CHARTS = {"lanes", "spend", "curve", "calibration"}
FEWEST_MARKS = 5
LEAST_CONTRAST = 4.5

# For each element with text of its own: its colour against the nearest ground that is not transparent.
CONTRASTS = """
() => {
  const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) =>
    0.2126 * channel(red / 255) + 0.7152 * channel(green / 255) + 0.0722 * channel(blue / 255);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const found = numbers(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const hasText = node => [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
  const isSeen = node => node.getClientRects().length > 0;
  return [...document.body.querySelectorAll('*')]
    .filter(node => hasText(node) && isSeen(node) && !['title', 'desc', 'CAPTION'].includes(node.tagName))
    .map(node => {
      const style = getComputedStyle(node);
      const [one, other] = [light(numbers(node.closest('svg') ? style.fill : style.color)), light(ground(node))];
      return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), node.outerHTML.slice(0, 120)];
    });
}
"""


def look(shown, width, name):
    page = shown.page
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{name}: {wide} pixels on {width}"
    charts = page.locator("svg.chart:visible")
    assert charts.count() == len(CHARTS), f"{name}: {charts.count()} charts"
    for chart in charts.all():
        marks, title, text = chart.evaluate(
            "node => [node.querySelectorAll('.mark').length, node.querySelector('title').textContent,"
            " node.querySelector('desc').textContent]"
        )
        assert marks >= FEWEST_MARKS and title and text, f"{name}: {title}: {marks} marks"
        # Words are drawn large enough to be read, and none is cut off by the edge.
        outside = chart.evaluate(
            """node => { const box = node.getBoundingClientRect();
                 return [...node.querySelectorAll('text')].map(text => [text.getBoundingClientRect(), text.textContent])
                   .filter(([own]) => own.left < box.left - 1 || own.right > box.right + 1 || own.height < 10)
                   .map(([, words]) => words); }"""
        )
        assert not outside, f"{name}: {title}: {outside}"
    for table in page.locator("table").all():
        assert table.locator("th[scope=col]").count() > 2 and table.locator("caption").count() == 1
        assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
    faint = [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST]
    assert not faint, f"{name}: {faint}"
    assert page.locator("script").count() == 0
    if folder := os.environ.get("TRILANE_SHOTS"):
        page.screenshot(path=os.path.join(folder, f"report-{name}.png"), full_page=True)


def main():
    url = pathlib.Path(sys.argv[1]).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["TRILANE_TEST_CHROMIUM_PATH"], args=FLAGS
        )
        for scheme in ["light", "dark"]:
            for width in [360, 1200]:
                shown = Page(browser, url, viewport={"width": width, "height": 800}, color_scheme=scheme)
                look(shown, width, f"{scheme}-{width}")
                assert not shown.errors, shown.errors
                shown.context.close()
        browser.close()


if __name__ == "__main__":
    main()
