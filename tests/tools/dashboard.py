"""Drives Chromium on the dashboard as a person would, and fails where the page does not do what it should.

    dashboard.py URL STEP...

What the page rests on is done by whoever starts this: a line on stdout such as `paused local-fast` asks for it, a line on
stdin answers. Every wait is for a condition.
"""

import os
import sys
import time
import traceback

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# Counts the states that the page is sent.
COUNTING = """
window.states = 0;
window.EventSource = class extends EventSource {
  constructor(url) { super(url); this.addEventListener("fleet", () => window.states++); }
};
"""
LANE = "local-fast"
CARD = f"[data-lane={LANE}]"
MAX_TABS = 200
PATIENCE_S = 60
INTERVAL_MS = 20
UPDATES = 500


def ask(line):
    print(line, flush=True)
    return sys.stdin.readline().strip()


class Page:
    def __init__(self, browser, url, **options):
        self.context = browser.new_context(**options)
        self.context.add_init_script(COUNTING)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def wait(self, expression):
        """Playwright's own wait evaluates text inside the page, and the page's policy forbids that."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"waited in vain: {expression}"
            self.page.wait_for_timeout(INTERVAL_MS)

    def text(self, selector):
        return self.page.inner_text(selector)

    def nodes(self):
        return self.page.evaluate("document.querySelectorAll('*').length")


def first_look(shown):
    """A page that is opened before the monitor has looked says so."""
    shown.wait("document.querySelector('#link').textContent.startsWith('Waiting for the monitor')")
    ask("look")
    opened(shown)


def opened(shown):
    """The page shows lanes."""
    shown.page.wait_for_selector("[data-link=live] article")


def flood(shown):
    """A flood is seen, and why."""
    ask("flood")
    shown.wait(f"document.querySelector('{CARD} [data-state]').textContent === 'filling'")
    why = shown.text(f"{CARD} [data-why]")
    assert "/s arrive" in why and "/s are served" in why, why
    assert LANE in shown.text("#headline") and "filling" in shown.text("#headline")
    assert LANE in shown.page.title(), "seen in the tab's title too"
    waiting = int(shown.text(f"{CARD} [data-waiting]").replace(",", ""))
    assert waiting > 0


def pause(shown):
    """The switch pauses the lane at the server, and lets it go on; by keyboard."""
    button = shown.page.locator(f"{CARD} [data-switch]")
    assert ask(f"paused {LANE}") == "no"
    button.focus()
    shown.page.keyboard.press("Enter")
    shown.wait(f"document.querySelector('{CARD} [data-state]').textContent === 'paused'")
    assert ask(f"paused {LANE}") == "yes"
    # Told to those who do not see it.
    shown.wait("document.querySelector('#announcer').textContent.includes('paused')")
    assert button.evaluate("node => node === document.activeElement"), "the focus stays"
    assert button.inner_text() == "Resume"
    shown.page.keyboard.press("Space")
    shown.wait(f"document.querySelector('{CARD}').dataset.paused === 'no'")
    assert ask(f"paused {LANE}") == "no"


def keyboard(shown):
    """Everything that can be used is reached by the keyboard, and shows that it is."""
    page = shown.page
    page.locator("#freeze").click()
    wanted = page.evaluate("[...document.querySelectorAll('a, button, input, [tabindex=\"0\"]')].length")
    reached = set()
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        index, outline = page.evaluate(
            "[[...document.querySelectorAll('*')].indexOf(document.activeElement),"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        if page.evaluate("document.activeElement === document.body"):
            continue  # Past the end; the next is the first.
        if index in reached:
            break
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        reached.add(index)
    assert len(reached) == wanted, f"{len(reached)} of {wanted} are reached"
    page.locator("#freeze").click()


def names(shown):
    """What is used has a name, what is a picture a text, what is a table headers."""
    nameless = shown.page.evaluate(
        """[...document.querySelectorAll('button, input, [role=img], [role=region], section')].filter(node =>
             !node.ariaLabel && !node.textContent.trim() && !node.labels?.length
             && !document.getElementById(node.getAttribute('aria-labelledby'))?.textContent)
           .map(node => node.outerHTML)"""
    )
    assert not nameless, nameless
    for table in shown.page.locator("table").all():
        assert table.locator("th[scope=col]").count() > 3


def life(shown):
    """A task's life is shown, and an unknown one is said to be unknown."""
    agent, task, expected = ask("task").split()
    shown.page.fill("#life-agent", agent)
    shown.page.fill("#life-id", task)
    shown.page.keyboard.press("Enter")
    shown.wait("document.querySelectorAll('#life-entries li').length > 0")
    assert expected in shown.text("#life-standing"), shown.text("#life-standing")
    assert "Finished" in shown.text("#life-entries"), shown.text("#life-entries")
    shown.page.fill("#life-id", "never-published")
    shown.page.keyboard.press("Enter")
    shown.wait("document.querySelector('#life-standing').textContent.includes('Nothing is known')")
    assert shown.page.locator("#life-entries li").count() == 0


def freeze(shown):
    """What moves can be stopped, and goes on from the newest state."""
    shown.page.locator("#freeze").click()
    before = shown.text("main")
    seen = shown.page.evaluate("states")
    shown.wait(f"states > {seen + 3}")
    assert shown.text("main") == before
    assert "Frozen" in shown.text("#link")
    shown.page.locator("#freeze").click()
    assert "Live" in shown.text("#link")


def memory(shown):
    """A page that is left open stays as large as it was."""
    ask("fast")
    # The lists are full by then.
    seen = shown.page.evaluate("states")
    shown.wait(f"states > {seen + 60}")
    shown.page.locator("#freeze").click()
    before = shown.nodes()
    shown.page.locator("#freeze").click()
    shown.wait(f"states > {seen + 60 + UPDATES}")
    shown.page.locator("#freeze").click()
    after = shown.nodes()
    shown.page.locator("#freeze").click()
    assert before == after, f"{before} nodes, after {UPDATES} states {after}"
    ask("slow")


def narrow(shown):
    """Nothing is cut off on the narrowest phone."""
    size = shown.page.viewport_size
    shown.page.set_viewport_size({"width": 360, "height": 740})
    width = shown.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, width
    shown.page.set_viewport_size(size)


def reconnect(shown):
    """A page that loses the monitor says so, and finds it again."""
    ask("stop")
    shown.page.wait_for_selector("[data-link=lost]")
    assert "Not connected" in shown.text("#banner")
    assert shown.page.evaluate("document.body.dataset.fresh") == "no", "old figures look old"
    ask("start")
    shown.page.wait_for_selector("[data-link=live]")
    assert shown.page.locator("#banner").is_hidden()
    assert shown.page.evaluate("document.body.dataset.fresh") == "yes"
    # The browser itself says that nobody answered.
    shown.errors[:] = [error for error in shown.errors if "ERR_" not in error]


def shots(shown):
    """Pictures for the README, into the folder of TRILANE_SHOTS: 1280 and 390 wide."""
    agent, task, _ = ask("task").split()
    ask("fast")
    shown.wait("states > 140")  # The trend is full by then.
    ask("slow")
    shown.page.fill("#life-agent", agent)
    shown.page.fill("#life-id", task)
    shown.page.click("#life-form button")
    shown.wait("document.querySelectorAll('#life-entries li').length > 0")
    for scheme in ["light", "dark"]:
        shown.page.emulate_media(color_scheme=scheme)
        for width, suffix in [(1280, ""), (390, "-phone")]:
            shown.page.set_viewport_size({"width": width, "height": 900})
            path = os.path.join(os.environ["TRILANE_SHOTS"], f"dashboard-{scheme}{suffix}.png")
            shown.page.screenshot(path=path, full_page=True)


STEPS = [first_look, opened, flood, pause, keyboard, names, life, freeze, memory, narrow, reconnect, shots]


def main():
    url, *wanted = sys.argv[1:]
    steps = {step.__name__: step for step in STEPS}
    executable = os.environ["TRILANE_TEST_CHROMIUM_PATH"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        shown = Page(browser, url, viewport={"width": 1280, "height": 900})
        for name in wanted:
            print(f"step {name}", file=sys.stderr, flush=True)
            steps[name](shown)
        assert not shown.errors, shown.errors
        browser.close()
    print("passed", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)
