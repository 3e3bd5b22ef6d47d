"""Holds what `scripts/run --once --json` prints against the sample tasks.

    check_sample.py OUTPUT.json SAMPLE_TASKS.jsonl

Every task must be done and have a text; none may have been on a cloud lane, since the run had no API key, and
a private one not even with a key.
"""

import json
import sys

CLOUD_LANE = "cloud"


def is_private(asked):
    """Whether the task says so itself, or by a tag: all tags of the sample are private ones."""
    return asked.get("sensitivity") == "private" or bool(asked.get("tags"))


def problems(output, sample):
    """Yields a sentence for everything that does not hold."""
    tasks = output["tasks"]
    counts = {"submitted": output["submitted"], "done": output["done"], "tasks": len(tasks)}
    for name, count in counts.items():
        if count != len(sample):
            yield f"{name} is {count}, expected {len(sample)}"
    if len({task["id"] for task in tasks}) != len(tasks):
        yield "an id stands twice"
    if sum(output["by_lane"].values()) != output["done"]:
        yield f"the lanes do not add up: {output['by_lane']}"
    for task, asked in zip(tasks, sample):
        title = asked["metadata"]["title"]
        if task["title"] != title:
            yield f"task {task['title']!r} stands in the place of {title!r}"
        if is_private(asked) and task["lane"] == CLOUD_LANE:
            yield f"the private task {title!r} was on the cloud lane"
        if task["status"] != "done" or not (task["text"] or "").strip():
            yield f"task {title!r} is {task['status']} with text {task['text']!r}"
        if task["lane"] == CLOUD_LANE:
            yield f"task {title!r} was on the cloud lane without a key"
    if len(output["by_lane"]) < 2:
        yield f"routing chose one lane for everything: {output['by_lane']}"


def main():
    with open(sys.argv[1]) as output, open(sys.argv[2]) as sample:
        found = list(problems(json.load(output), [json.loads(line) for line in sample if line.strip()]))
    if found:
        sys.exit("the sample run does not hold:\n  " + "\n  ".join(found))


if __name__ == "__main__":
    main()
