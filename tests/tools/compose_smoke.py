"""The story of scripts/compose-smoke: the fleet in containers, used, scaled, killed and restarted, and its account.

    compose_smoke.py --models FOLDER -- COMPOSE...
"""

import argparse
import functools
import json
import pathlib
import signal
import sys
import tomllib
import urllib.request
from collections import Counter

import check_keda
import compose_isolation
from compose_load import AGENT, LANE, Load
from compose_project import Failed, Project, docker, eventually, is_healthy, say

CONFIG = pathlib.Path(__file__).parents[2] / "config"
SAMPLE = CONFIG / "sample-tasks.jsonl"
# What KEDA asks the server for a trigger of the account CORE.
JSZ = "http://127.0.0.1:8222/jsz?acc=CORE&consumers=true&config=true"
REPLICAS = 3
# Seconds until a restarted container is healthy again, or something that was started shows.
LIMIT_S = 120
SERVICES = ("nats", "classifier", "monitor", "learner", "local-fast", "local-deep", "prometheus", "alertmanager")
# On internal networks only; and on one that publishes a port, where what they send has no return address.
SHUT_IN = ("classifier", "learner", "local-fast", "local-deep")
PUBLISHED = ("monitor", "prometheus")


def run_samples(project):
    tasks = [json.loads(line) for line in SAMPLE.read_text().splitlines() if line.strip()]
    results, were_all_stored, said = project.submit("sample", tasks, "--wait")
    done = [result for result in results if result["status"] == "done" and result["text"].strip()]
    if not were_all_stored or len(done) != len(tasks):
        raise Failed(f"{len(done)} of {len(tasks)} sample tasks were answered: {said}")
    lanes = Counter(result["lane"] for result in results)
    if set(lanes) != {"local-fast", "local-deep"}:
        raise Failed(f"without a key the samples belong on both local lanes, found {dict(lanes)}")
    say(f"{len(done)} sample tasks answered: {dict(lanes)}")


def scale(project):
    project.up("--no-recreate", "--scale", f"{LANE}={REPLICAS}")
    eventually(f"{REPLICAS} workers", LIMIT_S, lambda: len(project.lane(LANE)["workers"]) == REPLICAS)
    say(f"`trilane lanes` shows {REPLICAS} workers of {LANE}")


def are_all_scraped(project):
    """Whether Prometheus has found each container, and reaches it."""
    address = project.compose("port", "prometheus", "9090").stdout.strip()
    with urllib.request.urlopen(f"http://{address}/api/v1/targets", timeout=5) as answer:
        targets = json.load(answer)["data"]["activeTargets"]
    up = Counter(target["labels"]["service"] for target in targets if target["health"] == "up")
    return up == Counter({LANE: REPLICAS, "local-deep": 1, "classifier": 1, "monitor": 1, "learner": 1})


def autoscaling(project):
    """What config/keda waits for is there, where KEDA would ask."""
    said = docker("exec", project.containers("nats")[0], "wget", "--quiet", "--output-document=-", JSZ)
    config = tomllib.loads((CONFIG / "trilane.toml").read_text())
    if problems := check_keda.problems(CONFIG / "keda", config, json.loads(said)):
        raise Failed("; ".join(problems))
    say("each trigger of config/keda finds its consumer")


def kill_one(project):
    """Kills a worker's container while it has tasks in hand; how many."""

    def busiest():
        worker = max(project.lane(LANE)["workers"], key=lambda worker: worker["busy"])
        return worker if worker["busy"] else None

    worker = eventually("a busy worker", LIMIT_S, busiest)
    docker("kill", "--signal", "KILL", worker["host"])
    say(f"killed a worker of {LANE} that had {worker['busy']} tasks in hand")


def restart_in_turn(project):
    """A rolling restart: each worker, the classifier and the server, the next when the last is healthy again."""
    for service in (LANE, "classifier", "nats"):
        for container in project.containers(service):
            docker("restart", "--time", "30", container)
            eventually(f"{service} healthy", LIMIT_S, functools.partial(is_healthy, container))
    say(f"restarted each worker of {LANE}, the classifier and the server in turn")


def under_fire(project):
    with Load(project) as load:
        eventually("first results", LIMIT_S, lambda: project.read("results", "--agent", AGENT, "--last", "1"))
        kill_one(project)
        project.up("--no-recreate", "--scale", f"{LANE}={REPLICAS}")
        restart_in_turn(project)
    results = load.account()
    again = sum(result["attempts"] > 1 for result in results)
    if not again:
        raise Failed("no task was given to a second worker, so the kill has shown nothing")
    say(
        f"{len(load.acknowledged)} acknowledged tasks, {len(results)} results, each once; {again} were given out again; "
        f"{load.refusals} batches not acknowledged in full"
    )


def isolation(project):
    containers = {service: project.containers(service)[0] for service in SERVICES}
    for service, container in containers.items():
        compose_isolation.check_hardening(service, container)
    compose_isolation.check_zones(project, containers[LANE])
    compose_isolation.check_way_out(
        project,
        shut_in={service: containers[service] for service in SHUT_IN},
        published={service: containers[service] for service in PUBLISHED},
    )
    say("no container is root, writes to its image or has capabilities; the zones do not meet; nothing gets out")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", required=True)
    parser.add_argument("compose", nargs="+")
    options = parser.parse_args()
    # So that the project is ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Project(options.compose, options.models) as project:
            project.up()
            say("up and healthy")
            run_samples(project)
            scale(project)
            eventually("all containers scraped", LIMIT_S, lambda: are_all_scraped(project))
            say("Prometheus reaches each container")
            autoscaling(project)
            under_fire(project)
            isolation(project)
    except Failed as failure:
        sys.exit(f"the fleet in containers does not hold: {failure}")
    say("the fleet in containers holds")


if __name__ == "__main__":
    main()
