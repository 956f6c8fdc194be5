"""Synapse's processes as its configuration files name them, against the pods that exist."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from tests.manifests.rules.objects import Objects, Workload, mounted_texts, structured, workloads

# synapse/config/workers.py: "Must only specify one instance to handle ...".
ONE_WRITER = ("typing", "to_device", "account_data", "presence", "push_rules")

# Options that hold names of instances besides `stream_writers` and `instance_map` (synapse/config/workers.py, repository.py).
LISTS = ("federation_sender_instances", "pusher_instances", "outbound_federation_restricted_to")
NAMES = (
    "media_instance_running_background_jobs",
    "update_user_directory_from_worker",
    "notify_appservices_from_worker",
    "run_background_tasks_on",
)
MAIN = ("main", "master")
SHARED = ("instance_map", "stream_writers", *LISTS, *NAMES)
"""What stands in the list of writers."""


@frozen
class Process:
    """Pods that run one kind of Synapse process, with the settings of all configuration files that they mount."""

    workload: Workload
    settings: Mapping[str, Any]

    @property
    def is_worker(self) -> bool:
        return "worker_app" in self.settings

    @property
    def follows(self) -> bool:
        """Whether it shows what another homeserver's processes write, none of which it could reach."""
        return not self.is_worker and self.settings.get("instance_map", {}).get("main", {}).get("port") == 1

    @property
    def listeners(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.settings.get("worker_listeners" if self.is_worker else "listeners", [])
        return found

    def serves(self, resource: str) -> bool:
        return any(resource in names["names"] for listener in self.listeners for names in listener.get("resources", []))


def processes(objects: Objects) -> list[Process]:
    """Workloads that mount a `homeserver.yaml`; a later file wins over an earlier one, as in Synapse.

    A worker has no list of writers of its own: it takes main's, as main puts it into force.
    """
    found: list[Process] = []
    for workload in workloads(objects):
        files = {path: text for container in workload.containers for path, text in mounted_texts(workload, container, objects).items()}
        if any(path.endswith("/homeserver.yaml") for path in files):
            settings: dict[str, Any] = {}
            for path, text in files.items():
                if not path.endswith("/log.yaml"):
                    settings |= structured(path, text) or {}
            found.append(Process(workload, settings))
    mains = {process.workload.namespace: process.settings for process in found if not process.is_worker}
    return [
        evolve(
            process,
            settings={key: value for key, value in mains.get(process.workload.namespace, {}).items() if key in SHARED}
            | dict(process.settings),
        )
        if process.is_worker
        else process
        for process in found
    ]


def homeservers(objects: Objects) -> Iterator[tuple[str, list[Process]]]:
    """The processes of each homeserver that writes: those of one namespace. What follows another one has rules of its own."""
    everyone = [process for process in processes(objects) if not process.follows]
    for namespace in sorted({process.workload.namespace for process in everyone}):
        yield namespace, [process for process in everyone if process.workload.namespace == namespace]


def main_problems(objects: Objects) -> list[str]:
    """Homeservers without exactly one main process, or with processes that disagree on what is shared."""
    found = []
    for namespace, everyone in homeservers(objects):
        mains = [process.workload for process in everyone if not process.is_worker]
        if len(mains) != 1 or mains[0].most != 1:
            found.append(f"{namespace}: the main process is {[f'{w} x {w.most}' for w in mains]}")
        for key in ("database", "redis", "server_name"):
            values = {repr(_without_pool(process.settings.get(key))) for process in everyone}
            if len(values) > 1:
                found.append(f"{namespace}: the processes disagree on {key}")
    return found


def _without_pool(value: Any) -> Any:
    """A section without what belongs to the size of a process."""
    return {key: _without_pool(inner) for key, inner in value.items() if key != "cp_max"} if isinstance(value, Mapping) else value


def list_problems(objects: Objects) -> list[str]:
    """Workers with a list of writers of their own, which would never come into force, and mains without one."""
    found = []
    for workload in workloads(objects):
        for container in workload.containers:
            files = mounted_texts(workload, container, objects)
            homeserver = next((structured(path, text) for path, text in files.items() if path.endswith("/homeserver.yaml")), None)
            if homeserver is None or Process(workload, homeserver).follows:
                continue
            publishes = any(word.startswith("--publish=") for word in container.get("args", []))
            lists = [path for path, text in files.items() if path.endswith(".yaml") and "stream_writers" in (structured(path, text) or {})]
            if publishes != bool(lists) or publishes != (workload.labels["app.kubernetes.io/component"] == "main"):
                found.append(f"{workload} {'puts' if publishes else 'does not put'} a list into force and mounts {lists}")
    return found


def writer_problems(objects: Objects) -> list[str]:
    """Streams that Synapse wants one writer for and that have another number; streams without any; writers that others cannot reach."""
    found = []
    for namespace, everyone in homeservers(objects):
        settings = everyone[0].settings
        writers, reachable = settings.get("stream_writers", {}), set(settings.get("instance_map", {})) | {"master"}
        for stream, names in writers.items():
            if not names or (stream in ONE_WRITER and len(names) != 1):
                found.append(f"{namespace}: {stream} has the writers {names}")
            found += [f"{namespace}: {name} writes {stream} and is not in instance_map" for name in names if name not in reachable]
    return found


def instance_problems(objects: Objects) -> list[str]:
    """Instances that the configuration names and that are no pods; and pods that share a task with a list that leaves them out."""
    found = []
    for namespace, everyone in homeservers(objects):
        settings = everyone[0].settings
        pods = {name: process.workload for process in everyone if process.is_worker for name in process.workload.pod_names}
        lists = {f"stream_writers.{stream}": names for stream, names in settings.get("stream_writers", {}).items()}
        lists |= {key: settings[key] for key in LISTS if key in settings}
        lists |= {key: [settings[key]] for key in NAMES if key in settings}
        for key, names in lists.items():
            found += [f"{namespace}: {key} names {name}, which is no pod" for name in names if name not in pods and name not in MAIN]
            if key in NAMES:
                continue
            for workload in {pods[name] for name in names if name in pods}:
                if set(workload.pod_names) - set(names):
                    found.append(f"{namespace}: {key} leaves out pods of {workload}")
                if workload.least != workload.most:
                    found.append(f"{namespace}: {key} names pods of {workload}, whose number an autoscaler changes")
    return found


def instance_map_problems(objects: Objects) -> list[str]:
    """An `instance_map` that is not exactly the pods that listen for replication, each under its own name."""
    found = []
    for namespace, everyone in homeservers(objects):
        instances = everyone[0].settings.get("instance_map", {})
        replicating = {name for p in everyone if p.is_worker and p.serves("replication") for name in p.workload.pod_names} | {"main"}
        found += [f"{namespace}: {name} is only in one of instance_map and the listeners" for name in sorted(set(instances) ^ replicating)]
        main = next((p.workload.pod_names[0] for p in everyone if not p.is_worker), "")
        for name, place in instances.items():
            if place["host"].split(".")[0] != (main if name == "main" else name):
                found.append(f"{namespace}: instance_map sends {name} to {place['host']}")
    return found


def duty_problems(objects: Objects) -> list[str]:
    """Workers whose type has a duty that no list gives them: they would run idle, or each would do the work of all."""
    found = []
    duties = {"federation-sender": "federation_sender_instances", "pusher": "pusher_instances"}
    for namespace, everyone in homeservers(objects):
        for process in everyone:
            if key := duties.get(process.workload.name):
                missing = set(process.workload.pod_names) - set(process.settings.get(key, []))
                found += [f"{namespace}: {name} is not in {key}" for name in sorted(missing)]
        media = [p for p in everyone if p.settings.get("enable_media_repo", True)]
        if any(not p.is_worker for p in media) and len(media) > 1:
            found.append(f"{namespace}: the media repository runs on main and on workers")
    return found


def listener_problems(objects: Objects) -> list[str]:
    """Processes that listen on other ports than their pods declare, or that run more than once without names of their own."""
    found = []
    for process in processes(objects):
        listening = {listener["port"] for listener in process.listeners} | _alive_ports(process.workload)
        if listening != process.workload.numbers:
            found.append(f"{process.workload} declares {sorted(process.workload.numbers)} and listens on {sorted(listening)}")
        if process.workload.kind != "StatefulSet" and not process.follows:
            found.append(f"{process.workload} has no stable names")
    return found


def _alive_ports(workload: Workload) -> set[int]:
    """Where the program that starts Synapse answers (services/synapse_start/liveness.py)."""
    words = [word for container in workload.containers for word in container.get("args", [])]
    return {int(word.removeprefix("--alive-port=")) for word in words if word.startswith("--alive-port=")}
