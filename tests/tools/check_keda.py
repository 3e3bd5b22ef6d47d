"""Holds config/keda/*.yaml against the schemas of Kubernetes and KEDA, and against the configuration.

    check_keda.py MANIFEST_FOLDER CONFIG.toml [JSZ.json]

JSZ.json is what nats-server says at /jsz?acc=CORE&consumers=true&config=true, which is what KEDA asks: every trigger must
find its consumer there.
"""

import json
import pathlib
import sys
import tomllib

import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.kubernetes.apps.v1 import Deployment
from cloudcoil.models.kubernetes.networking.v1 import NetworkPolicy

KINDS = {
    ("apps/v1", "Deployment"): Deployment,
    ("keda.sh/v1alpha1", "ScaledObject"): ScaledObject,
    ("networking.k8s.io/v1", "NetworkPolicy"): NetworkPolicy,
}
# Of a trigger `nats-jetstream`; KEDA's schema leaves a trigger's metadata open. Source: KEDA's documentation, scaler
# "NATS JetStream", as of 2.19.
TRIGGER_FIELDS = {"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold"}
OPTIONAL_TRIGGER_FIELDS = {"activationLagThreshold", "useHttps"}
PRIORITIES = ("high", "normal", "low")
STREAMS = {"local": "LANE_LOCAL", "cloud": "LANE_CLOUD"}
# Messages for each slot, running or waiting, at which another worker is asked for.
MESSAGES_PER_SLOT = 2


def plain(value):
    """As the manifest would say it: without what says nothing."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one is not None}
    return [plain(one) for one in value] if isinstance(value, list) else value


def unknown(path, given, understood):
    """What a schema has not taken as it was given."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key in given:
            yield from unknown(f"{path}.{key}", given[key], understood.get(key))
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for index, (one, other) in enumerate(zip(given, understood)):
            yield from unknown(f"{path}[{index}]", one, other)
    elif given != understood:
        yield f"{path}: the schema does not know {given!r}"


def schema_problems(where, document):
    kind = KINDS.get((document.get("apiVersion"), document.get("kind")))
    if kind is None:
        yield f"{where}: unexpected {document.get('apiVersion')} {document.get('kind')}"
        return
    try:
        understood = kind.model_validate(document)
    except ValueError as error:
        yield f"{where}: {error}"
        return
    taken = plain(understood.model_dump(by_alias=True, exclude_unset=True, mode="json"))
    yield from unknown(where, document, taken)


def trigger_problems(where, scaled):
    for trigger in scaled["spec"]["triggers"]:
        fields = set(trigger["metadata"])
        if trigger["type"] != "nats-jetstream":
            yield f"{where}: trigger `{trigger['type']}`"
        if missing := TRIGGER_FIELDS - fields:
            yield f"{where}: a trigger lacks {sorted(missing)}"
        if strange := fields - TRIGGER_FIELDS - OPTIONAL_TRIGGER_FIELDS:
            yield f"{where}: a trigger has {sorted(strange)}"
        if not trigger["metadata"]["lagThreshold"].isdecimal():
            yield f"{where}: `lagThreshold` is no number"


def told(scaled):
    """Stream, consumer and threshold of each trigger."""
    metadata = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    return [(one["stream"], one["consumer"], int(one["lagThreshold"])) for one in metadata]


def bound_problems(where, scaled, lowest, slots, most):
    spec = scaled["spec"]
    if spec["minReplicaCount"] < lowest:
        yield f"{where}: minReplicaCount must be {lowest} at least, since nothing waits where KEDA would see it"
    if spec["maxReplicaCount"] * slots > most:
        yield f"{where}: {spec['maxReplicaCount']} of {slots} slots are more than the {most} that may be in flight"


def lane_problems(name, lane, config, scaled):
    slots = worker_slots(lane, config)
    threshold = MESSAGES_PER_SLOT * slots
    expected = [(STREAMS[lane["zone"]], f"{name}_{priority}", threshold) for priority in PRIORITIES]
    if told(scaled) != expected:
        yield f"{name}: the triggers are {told(scaled)}, the configuration asks for {expected}"
    adjust = config["policy"]["adjust"]
    if MESSAGES_PER_SLOT >= adjust["saturated_tasks_per_slot"]:
        yield f"{name}: the lane is saturated before KEDA adds a worker"
    without_worker = adjust[f"{lane['zone']}_without_worker"]
    yield from bound_problems(name, scaled, 0 if without_worker == "park" else 1, slots, lane["max_in_flight"])


def worker_slots(lane, config):
    """A worker serves all models of a cloud lane at once, and one of a local lane."""
    slots = [config["models"][model]["slots"] for model in lane["models"]]
    return sum(slots) if lane["zone"] == "cloud" else slots[0]


def classifier_problems(config, scaled):
    window = config["classifier"]["window"]
    threshold = MESSAGES_PER_SLOT * window
    expected = [("TASKS", "classify", threshold), ("RETURNS", "take_back", threshold)]
    if told(scaled) != expected:
        yield f"classifier: the triggers are {told(scaled)}, the configuration asks for {expected}"
    yield from bound_problems("classifier", scaled, 1, window, config["streams"]["intake_max_in_flight"])


def deployment_problems(name, deployment, config, zone):
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    if pod["terminationGracePeriodSeconds"] <= config["worker"]["drain_grace_s"]:
        yield f"{name}: terminationGracePeriodSeconds is not longer than worker.drain_grace_s"
    if "replicas" in deployment["spec"]:
        yield f"{name}: `replicas` would undo at each apply what KEDA has set"
    if deployment["spec"]["template"]["metadata"]["labels"]["trilane/zone"] != zone:
        yield f"{name}: labelled as another zone than its own, {zone}"
    if zone == "local" and pod["dnsPolicy"] != "None":
        yield f"{name}: a worker of the local zone can look names up"
    hardened = container["securityContext"]
    if not (
        pod["securityContext"].get("runAsNonRoot")
        and hardened.get("readOnlyRootFilesystem")
        and hardened.get("allowPrivilegeEscalation") is False
        and hardened.get("capabilities") == {"drop": ["ALL"]}
        and "memory" in container["resources"].get("limits", {})
    ):
        yield f"{name}: the container may more than it needs"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if container[probe]["httpGet"]["path"] != ("/healthz" if probe == "livenessProbe" else "/readyz"):
            yield f"{name}: {probe} asks {container[probe]['httpGet']['path']}"


def server_problems(scaled_objects, jsz):
    """Every trigger finds its consumer where KEDA looks for it."""
    there = {
        (account["name"], stream["name"], consumer["name"])
        for account in jsz["account_details"]
        for stream in account.get("stream_detail", [])
        for consumer in stream.get("consumer_detail", [])
    }
    for name, scaled in scaled_objects.items():
        for trigger in scaled["spec"]["triggers"]:
            metadata = trigger["metadata"]
            wanted = (metadata["account"], metadata["stream"], metadata["consumer"])
            if wanted not in there:
                yield f"{name}: the server has no consumer {wanted}"


def documents(folder):
    """Each with the words that name it."""
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield f"{file.name}: {document['kind']} {document['metadata']['name']}", document


def form_problems(folder):
    for where, document in documents(folder):
        yield from schema_problems(where, document)
        if document["kind"] == "ScaledObject":
            yield from trigger_problems(where, document)


def meaning_problems(folder, config, jsz):
    found = {}
    for _, document in documents(folder):
        found.setdefault(document["kind"], {})[document["metadata"]["name"]] = document
    scaled, deployments = found["ScaledObject"], found["Deployment"]
    expected = {"classifier", *config["lanes"]}
    if set(scaled) != expected or set(deployments) != expected:
        yield f"expected one Deployment and one ScaledObject each for {sorted(expected)}"
        return
    for name, lane in config["lanes"].items():
        yield from lane_problems(name, lane, config, scaled[name])
    yield from classifier_problems(config, scaled["classifier"])
    for name, deployment in deployments.items():
        if scaled[name]["spec"]["scaleTargetRef"]["name"] != name:
            yield f"{name}: the ScaledObject scales another Deployment"
        zone = config["lanes"].get(name, {"zone": "local"})["zone"]
        yield from deployment_problems(name, deployment, config, zone)
    if jsz is not None:
        yield from server_problems(scaled, jsz)


def problems(folder, config, jsz=None):
    """A sentence for everything that does not hold; what it means only where the form is right."""
    return list(form_problems(folder)) or list(meaning_problems(folder, config, jsz))


def main():
    folder, config, *jsz = map(pathlib.Path, sys.argv[1:])
    config = tomllib.loads(config.read_text())
    jsz = json.loads(jsz[0].read_text()) if jsz else None
    if found := problems(folder, config, jsz):
        sys.exit("the manifests for KEDA do not hold:\n  " + "\n  ".join(found))


if __name__ == "__main__":
    main()
