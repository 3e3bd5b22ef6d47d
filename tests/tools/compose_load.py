"""Short tasks, published one batch after the other while the fleet is put under fire, and the account of them."""

import threading
from collections import Counter

from compose_project import Failed, eventually

AGENT = "smoke"
LANE = "local-fast"
# Tasks of one batch; a batch is published as soon as fewer than so many wait or run.
BATCH = 60
# Batches at most, should the fire never end.
MAX_BATCHES = 40
# Seconds within which all tasks are answered once the fire is over; a killed worker's come back after 30.
DRAIN_LIMIT_S = 180


class Load:
    """Publishes in a thread of its own until it is stopped."""

    def __init__(self, project):
        self.project = project
        self.acknowledged = []
        self.refusals = 0
        self.broke_off = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _run(self):
        try:
            self._publish()
        except Exception as error:
            self.broke_off = error

    def _publish(self):
        for batch in range(MAX_BATCHES):
            # Not answered while the server is restarted: then published without looking.
            self._wait_for_room()
            if self.stopped.is_set():
                return
            tasks = [
                {
                    "id": f"load-{batch}-{number}",
                    "prompt": f"Say the number {number}.",
                    "sensitivity": "private",
                    "complexity": 0.1,
                    "max_tokens": 8,
                }
                for number in range(BATCH)
            ]
            said, were_all_stored, _ = self.project.submit(AGENT, tasks)
            self.acknowledged += [task["id"] for task in said]
            self.refusals += not were_all_stored

    def _wait_for_room(self):
        def has_room():
            if self.stopped.is_set():
                return True
            lane = self.project.lane(LANE)
            return lane["waiting"] + lane["in_flight"] < BATCH

        try:
            eventually("room", DRAIN_LIMIT_S, has_room)
        except (Failed, ValueError):
            pass

    def account(self):
        """Waits until every acknowledged task is answered; its results, each once."""
        if self.broke_off or not self.acknowledged:
            raise Failed(f"the load broke off: {self.broke_off!r}")
        wanted = set(self.acknowledged)
        if len(wanted) != len(self.acknowledged):
            raise Failed("an id was acknowledged twice")
        results = []

        def are_all_answered():
            results[:] = self.project.read("results", "--agent", AGENT, "--last", "100000")
            return wanted <= {result["task_id"] for result in results}

        try:
            eventually("all tasks answered", DRAIN_LIMIT_S, are_all_answered)
        except Failed:
            missing = sorted(wanted - {result["task_id"] for result in results})
            raise Failed(f"{len(missing)} of {len(wanted)} acknowledged tasks have no result: {missing[:10]}") from None
        times = Counter(result["task_id"] for result in results)
        twice = [task for task, count in times.items() if count > 1]
        if twice:
            raise Failed(f"answered more than once: {twice[:10]}")
        undone = [result for result in results if result["status"] != "done"]
        if undone:
            raise Failed(f"{len(undone)} tasks were not done: {undone[0]['status']}, {undone[0].get('error')}")
        letters = self.project.read("dead", "list")
        if letters:
            raise Failed(f"{len(letters)} dead letters: {letters[0]}")
        return results
