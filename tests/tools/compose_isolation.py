"""What the containers of the fleet cannot do: reach the outside, meet the other zone, write, be root."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from compose_project import Failed, docker, inside, say

# Addresses for documentation (RFC 5737): nobody's.
HERE, OUTSIDE = "198.51.100.1", "198.51.100.2"
# Of the container's main process, where a container was not made to be anything else.
HARDENED = {
    "NoNewPrivs": "1",
    "CapEff": "0000000000000000",
    "CapBnd": "0000000000000000",
}


class Outside:
    """A place beyond this machine's own addresses that takes and refuses connections: a network namespace."""

    def __init__(self, name):
        self.name = name
        self.veth = f"tl{os.getpid()}"

    def __enter__(self):
        for line in (
            f"netns add {self.name}",
            f"link add {self.veth} type veth peer name {self.veth}x netns {self.name}",
            f"address add {HERE}/30 dev {self.veth}",
            f"link set {self.veth} up",
            f"-netns {self.name} address add {OUTSIDE}/30 dev {self.veth}x",
            f"-netns {self.name} link set {self.veth}x up",
            # It would even answer private addresses.
            f"-netns {self.name} route add default via {HERE}",
        ):
            try:
                self._ip(line)
            except Failed:
                self.__exit__()
                raise
        return self

    def forget_the_way_back(self):
        """Answers addresses of its own network only, as anything beyond a router does."""
        self._ip(f"-netns {self.name} route delete default")

    def _ip(self, line):
        done = subprocess.run(["ip", *line.split()], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"ip {line}: {done.stderr.strip()}")

    def __exit__(self, *_):
        # Its end of the pair goes with it.
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)


def reaches(container, address, port):
    """Whether a container gets an answer; a refusal is one."""
    status, said = inside(container, f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'")
    return status == 0 or "refused" in said


def check_way_out(project, shut_in, published):
    """No packet of `shut_in` gets out, and no connection of `published`; both map a service to one of its containers.

    A container on `egress` shows each time that one could.
    """
    if os.geteuid() != 0 or not shutil.which("ip"):
        say("no root or no iproute2: that nothing gets out is NOT checked")
        return
    control = docker(
        "run", "--detach", "--rm", "--init", "--network", f"{project.name}_egress",
        docker("inspect", "--format", "{{.Image}}", shut_in["local-fast"]), "sleep", "infinity",
    )
    try:
        with Outside(project.name) as outside:
            check_none_gets_out(control, shut_in)
            outside.forget_the_way_back()
            check_none_gets_out(control, published)
    finally:
        docker("kill", control)


def check_none_gets_out(control, containers):
    if not reaches(control, OUTSIDE, 443):
        raise Failed("a container on `egress` does not get out, so this check would show nothing")
    with ThreadPoolExecutor() as all_at_once:
        found = dict(zip(containers, all_at_once.map(lambda one: reaches(one, OUTSIDE, 443), containers.values())))
    if out := [service for service, gets_out in found.items() if gets_out]:
        raise Failed(f"{out} get out")


def check_zones(project, local):
    """A container of the cloud worker's kind meets the server and nothing else; `local` is a local worker's."""
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", local)
    connections = [(one, 9464) for one in address.split()] + [("nats", 4222)]
    looks = [f"timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/{port}' && echo met {host}" for host, port in connections]
    looks += [f"timeout 3 getent hosts {name} && echo met {name}" for name in ("local-fast", "classifier", "monitor")]
    looks = "".join(f"{{ {look}; }} & " for look in looks) + "wait"
    met = project.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "bash", "cloud", "-c", looks).stdout
    if "met nats" not in met:
        raise Failed("a cloud worker's container does not meet nats, so this check would show nothing")
    if met.count("met ") != 1:
        raise Failed(f"a cloud worker's container meets the local zone: {met}")


def check_hardening(service, container):
    """Not root, nothing to write to, no capabilities, bounded memory, its own key only."""
    host = docker("inspect", "--format", "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.Config.User}}", container)
    is_read_only, memory, user = host.split()
    if is_read_only != "true" or memory == "0" or user.split(":")[0] in ("", "0", "root"):
        raise Failed(f"{service}: read-only {is_read_only}, memory {memory}, user {user}")
    if service == "nats":
        # There is no shell but busybox's, and no need for one.
        return
    _, status = inside(container, "cat /proc/1/status")
    found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    for name, value in HARDENED.items():
        if found[name].strip() != value:
            raise Failed(f"{service}: {name} is {found[name].strip()}")
    written, said = inside(container, "touch /usr/local/bin/x")
    if written == 0 or "Read-only" not in said:
        raise Failed(f"{service} can write to its image: {said}")
    _, keys = inside(container, "cd /var/lib/trilane/keys 2>/dev/null && find . -type f | cut -d / -f 2 | sort -u")
    own = {"local-fast": "local", "local-deep": "local", "prometheus": "", "alertmanager": ""}.get(service, service)
    if keys.split() != own.split():
        raise Failed(f"{service} sees the keys of {keys.split()}")
