"""A project of Docker Compose that is brought up for a test and ended with all that it made."""

import json
import os
import subprocess
import sys
import time

# Seconds between two looks at what is waited for.
POLL_S = 0.5
# Seconds that one command of Compose or Docker may take.
COMMAND_LIMIT_S = 180
# Lines of each service's log that are shown where something failed.
SHOWN_LOG_LINES = 40


class Failed(Exception):
    """Something does not hold."""


STARTED = time.monotonic()


def say(text):
    print(f"── {time.monotonic() - STARTED:4.0f} s  {text}", file=sys.stderr, flush=True)


def eventually(what, limit_s, look):
    """What `look` returns as soon as it is true."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(POLL_S)
    raise Failed(f"{what}: not within {limit_s} s")


def docker(*arguments, check=True):
    """The output of a docker command."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    if check and done.returncode != 0:
        raise Failed(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Project:
    """One project, named after this process; `compose` is the command that runs Compose."""

    def __init__(self, compose, models):
        self.name = f"trilane-smoke-{os.getpid()}"
        self.command = [*compose, "--project-name", self.name, "--progress", "quiet", "--profile", "observability"]
        self.environment = {
            **os.environ,
            "TRILANE_MODELS": models,
            "TRILANE_PROMETHEUS_IMAGE": "trilane-prometheus:local",
            "TRILANE_ALERTMANAGER_IMAGE": "trilane-alertmanager:local",
        }
        # Port 0: the system chooses.
        for port in ("NATS", "DASHBOARD", "PROMETHEUS", "ALERTMANAGER"):
            self.environment[f"TRILANE_{port}_PORT"] = "0"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            print(self.compose("ps", "--all", check=False).stdout, file=sys.stderr)
            logs = self.compose("logs", "--tail", str(SHOWN_LOG_LINES), check=False)
            print(logs.stdout, file=sys.stderr)
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")

    def compose(self, *arguments, check=True, stdin=None, limit_s=COMMAND_LIMIT_S):
        """Runs a command of Compose."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin, capture_output=True, text=True, env=self.environment, timeout=limit_s,
        )
        if check and done.returncode != 0:
            raise Failed(f"docker compose {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    def up(self, *arguments):
        self.compose("up", "--detach", "--wait", *arguments)

    def cli(self, *arguments, stdin=None, check=True):
        """Runs a verb of `trilane` in a container of its own."""
        return self.compose("run", "--rm", "--no-deps", "-T", "cli", *arguments, stdin=stdin, check=check)

    def read(self, *arguments):
        """What a reading verb says, as JSON."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def submit(self, agent, tasks, *options):
        """Publishes tasks; what is said of each that was acknowledged, and whether all were."""
        lines = "".join(json.dumps(task) + "\n" for task in tasks)
        done = self.cli(
            "submit", "--agent", agent, "--file", "/dev/stdin", "--json", *options, stdin=lines, check=False
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return said, done.returncode == 0, done.stderr.strip()

    def containers(self, service):
        """The ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--status", "running", service).stdout.split()

    def lane(self, name):
        return next(lane for lane in self.read("lanes") if lane["name"] == name)


def is_healthy(container):
    return docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"


def inside(container, script, limit_s=20):
    """Runs a line of bash in a container; its status and what it said."""
    command = ["docker", "exec", container, "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    return done.returncode, done.stdout + done.stderr
