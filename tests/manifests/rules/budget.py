"""Whether the numbers fit: requests, connections, volumes, erasure sets and votes. Reads only what is rendered."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from tests.manifests.rules.availability import most_apart
from tests.manifests.rules.objects import Objects, config_maps, mounted_texts, namespace_of, of_kind, structured, title, workloads
from tests.manifests.rules.processes import homeservers

CONNECTION_SHARE = 0.85
"""What Synapse's pools may take of max_connections."""

# cloudnative-pg, pkg/postgres/configuration.go, FixedConfigurationParameters: the webhook refuses a Cluster that sets one of them.
# fmt: off
FIXED_PARAMETERS = {
    "allow_system_table_mods", "archive_cleanup_command", "archive_command", "archive_mode", "bonjour", "bonjour_name",
    "cluster_name", "config_file", "data_directory", "data_sync_retry", "event_source", "external_pid_file", "hba_file",
    "hot_standby", "ident_file", "jit_provider", "listen_addresses", "log_destination", "log_directory", "log_file_mode",
    "log_filename", "log_rotation_age", "log_rotation_size", "log_truncate_on_rotation", "logging_collector",
    "pg_failover_slots.primary_dsn", "pg_failover_slots.standby_slot_names", "port", "primary_conninfo", "primary_slot_name",
    "promote_trigger_file", "recovery_end_command", "recovery_min_apply_delay", "recovery_target", "recovery_target_action",
    "recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_timeline",
    "recovery_target_xid", "restart_after_crash", "restore_command", "shared_preload_libraries", "ssl", "ssl_ca_file",
    "ssl_cert_file", "ssl_crl_file", "ssl_dh_params_file", "ssl_key_file", "ssl_passphrase_command",
    "ssl_passphrase_command_supports_reload", "ssl_prefer_server_ciphers", "stats_temp_directory", "synchronized_standby_slots",
    "synchronous_standby_names", "syslog_facility", "syslog_ident", "syslog_sequence_numbers", "syslog_split_messages",
    "temp_tablespaces", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions",
}
# fmt: on

_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_POSTGRES_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


@frozen
class Amount:
    """Processor in cores, memory and storage in bytes."""

    cpu: float = 0
    memory: float = 0
    storage: float = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.cpu + other.cpu, self.memory + other.memory, self.storage + other.storage)

    def __mul__(self, times: float) -> "Amount":
        return Amount(self.cpu * times, self.memory * times, self.storage * times)


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(m|[kMGT]i?|Ki)?", str(text)).groups()  # type: ignore[union-attr]
    return float(number) / 1000 if unit == "m" else float(number) * _UNITS[unit or ""]


def postgres_size(text: str) -> int:
    """A size in postgresql.conf, in bytes."""
    number, unit = re.fullmatch(r"(\d+)([kMGT]B)", text).groups()  # type: ignore[union-attr]
    return int(number) * _POSTGRES_UNITS[unit]


def requested(objects: Objects, nodes: int = 3) -> Amount:
    """What all pods that run for ever request: autoscaled ones at their least number, a DaemonSet on each of `nodes`."""
    total = Amount()
    for workload in workloads(objects):
        if workload.runs_for_ever:
            pod = sum((_requests(c["resources"]) for c in workload.serving), Amount())
            claims = sum((_claim(template) for template in workload.spec.get("volumeClaimTemplates", [])), Amount())
            total += (pod + claims) * (nodes if workload.kind == "DaemonSet" else workload.least)
    for claim in of_kind(objects, "PersistentVolumeClaim"):
        total += _claim(claim)
    stores = {(namespace_of(o), o["metadata"]["name"]): o["spec"]["instanceSidecarConfiguration"] for o in of_kind(objects, "ObjectStore")}
    for cluster in of_kind(objects, "Cluster"):
        spec = cluster["spec"]
        instance = _requests(spec["resources"]) + Amount(storage=quantity(spec["storage"]["size"]) + quantity(spec["walStorage"]["size"]))
        for plugin in spec.get("plugins", []):
            instance += _requests(stores[namespace_of(cluster), plugin["parameters"]["barmanObjectName"]]["resources"])
        total += instance * spec["instances"]
    for tenant in of_kind(objects, "Tenant"):
        for pool in tenant["spec"]["pools"]:
            total += (_requests(pool["resources"]) + _claim(pool["volumeClaimTemplate"]) * pool["volumesPerServer"]) * pool["servers"]
    return total


def _requests(resources: Mapping[str, Any]) -> Amount:
    return Amount(quantity(resources["requests"]["cpu"]), quantity(resources["requests"]["memory"]))


def _claim(claim: Mapping[str, Any]) -> Amount:
    return Amount(storage=quantity(claim["spec"]["resources"]["requests"]["storage"]))


def limit_problems(objects: Objects) -> list[str]:
    """Containers that request more memory than they may use."""
    return [
        f"{workload}: {container['name']}"
        for workload in workloads(objects)
        for container in workload.containers
        if quantity(container["resources"]["requests"]["memory"]) > quantity(container["resources"]["limits"]["memory"])
    ]


# -- PostgreSQL


def connection_problems(objects: Objects) -> list[str]:
    """Databases that could be asked for more connections than they accept, with every autoscaled worker at its most."""
    found = []
    clusters = {(namespace_of(c), f"{c['metadata']['name']}-rw"): c for c in of_kind(objects, "Cluster")}
    for namespace, everyone in homeservers(objects):
        arguments = everyone[0].settings["database"]["args"]
        cluster = clusters[namespace, arguments["host"].split(".")[0]]
        # Its pool, and the one by which a process is seen to live (services/synapse_start).
        wanted = sum(process.workload.most * (process.settings["database"]["args"]["cp_max"] + 1) for process in everyone)
        accepted = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
        most = CONNECTION_SHARE * (accepted - _other_connections(objects, namespace, arguments["host"]))
        if wanted > most:
            found.append(f"{title(cluster)}: Synapse may want {wanted} connections, more than {most:.0f}")
    return found


def _other_connections(objects: Objects, namespace: str, host: str) -> int:
    """What the Matrix Authentication Service may open to a host, with one pod more while it is updated."""
    wanted = 0
    for workload in workloads(objects):
        for container in workload.serving if workload.namespace == namespace else ():
            for path, text in mounted_texts(workload, container, objects).items():
                settings = structured(path, text)
                database = settings.get("database") if isinstance(settings, dict) else None
                if isinstance(database, dict) and database.get("host") == host and "max_connections" in database:
                    wanted += database["max_connections"] * (workload.most + 1)
    return wanted


def postgresql_problems(objects: Objects) -> list[str]:
    """Clusters that CloudNativePG refuses, or whose memory or volumes are too small for their settings."""
    return [f"{title(cluster)}: {problem}" for cluster in of_kind(objects, "Cluster") for problem in _postgresql(cluster["spec"])]


def _postgresql(spec: Mapping[str, Any]) -> Iterator[str]:
    parameters = spec["postgresql"]["parameters"]
    yield from (f"{name} may not be set" for name in sorted(FIXED_PARAMETERS & set(parameters)))
    yield from (f"{name} is no text" for name, value in parameters.items() if not isinstance(value, str))
    memory, volume = quantity(spec["resources"]["limits"]["memory"]), quantity(spec["walStorage"]["size"])
    # https://www.postgresql.org/docs/current/runtime-config-resource.html: more than 40 % of the memory is unlikely to work better.
    if postgres_size(parameters["shared_buffers"]) > 0.4 * memory:
        yield "shared_buffers takes more than 40 % of the memory"
    if postgres_size(parameters["shared_buffers"]) + int(parameters["max_connections"]) * postgres_size(parameters["work_mem"]) > memory:
        yield "shared_buffers and one work_mem for each connection are more than the memory"
    if postgres_size(parameters["max_wal_size"]) + postgres_size(parameters["max_slot_wal_keep_size"]) >= volume:
        yield "max_wal_size and what replication slots keep fill the WAL volume"
    if quantity(spec["resources"]["requests"]["memory"]) != memory:
        yield "the memory is not guaranteed"
    synchronous = spec["postgresql"]["synchronous"]
    if synchronous["number"] >= spec["instances"]:
        yield f"{synchronous['number']} synchronous standbys of {spec['instances']} instances"
    if spec["instances"] - synchronous["number"] < 2 and synchronous["dataDurability"] == "required":
        yield "the loss of one standby stops every write"


def schedule_problems(objects: Objects) -> list[str]:
    """Backups whose schedule has not six fields: CloudNativePG reads the first one as seconds."""
    return [
        f"{title(o)}: {o['spec']['schedule']!r} has not six fields"
        for o in of_kind(objects, "ScheduledBackup")
        if len(o["spec"]["schedule"].split()) != 6
    ]


def backup_problems(objects: Objects) -> list[str]:
    """Clusters that are not backed up, or archive to a store that is not there."""
    found = []
    stores = {(namespace_of(o), o["metadata"]["name"]) for o in of_kind(objects, "ObjectStore")}
    scheduled = {(namespace_of(o), o["spec"]["cluster"]["name"]) for o in of_kind(objects, "ScheduledBackup")}
    for cluster in of_kind(objects, "Cluster"):
        namespace = namespace_of(cluster)
        archives = [
            plugin["parameters"]["barmanObjectName"] for plugin in cluster["spec"].get("plugins", []) if plugin.get("isWALArchiver")
        ]
        if [(namespace, name) in stores for name in archives] != [True]:
            found.append(f"{title(cluster)} archives its WAL to {archives}")
        if (namespace, cluster["metadata"]["name"]) not in scheduled:
            found.append(f"{title(cluster)} has no scheduled backup")
    return found


# -- object storage and Redis


@frozen
class _Pool:
    """A pool of MinIO. `drives`: of each server. `pod`: how its servers are placed. `labels`: what tells them from all others."""

    store: str
    settings: Mapping[str, str]
    servers: int
    drives: int
    pod: Mapping[str, Any]
    labels: Mapping[str, str]


def erasure_problems(objects: Objects) -> list[str]:
    """Pools of MinIO whose parity is above half an erasure set, which MinIO refuses, or that do not survive a node.

    A node has no more servers beyond another one's than may be lost, unless it has one alone. A set is the largest divisor of all drives up to 16
    that spreads evenly over the nodes (minio/minio, cmd/endpoint-ellipses.go).
    """
    found = []
    for pool in _pools(objects):
        parity = int(pool.settings["MINIO_STORAGE_CLASS_STANDARD"].removeprefix("EC:"))
        drives, servers = pool.servers * pool.drives, pool.servers
        size = max((s for s in range(2, 17) if drives % s == 0 and (s % servers == 0 or servers % s == 0)), default=0)
        if not 0 < parity <= size // 2:
            found.append(f"{pool.store}: EC:{parity} in erasure sets of {size}")
        of_a_server = -(-size // servers)
        if of_a_server > parity:
            found.append(f"{pool.store}: a node holds more drives of a set than EC:{parity} can lose")
        alone = pool.pod.get("affinity", {}).get("podAntiAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
        if not alone and most_apart(pool.pod) != [(parity // max(1, of_a_server), pool.labels)]:
            found.append(f"{pool.store}: a node may have more servers than may be lost, or one waits where a node has room")
    return found


def _pools(objects: Objects) -> Iterator[_Pool]:
    """Every pool: of a Tenant, whose operator labels the pods (minio/operator, pkg/apis/minio.min.io/v2/constants.go), or a StatefulSet."""
    for tenant in of_kind(objects, "Tenant"):
        settings = {variable["name"]: variable["value"] for variable in tenant["spec"]["env"]}
        for pool in tenant["spec"]["pools"]:
            labels = {"v1.min.io/tenant": tenant["metadata"]["name"], "v1.min.io/pool": pool["name"]}
            yield _Pool(f"{title(tenant)}: {pool['name']}", settings, pool["servers"], pool["volumesPerServer"], pool, labels)
    for stateful in of_kind(objects, "StatefulSet"):
        spec, pod = stateful["spec"], stateful["spec"]["template"]["spec"]
        settings = {variable["name"]: variable.get("value", "") for variable in pod["containers"][0].get("env", [])}
        if "MINIO_VOLUMES" in settings:
            claims = len(spec["volumeClaimTemplates"])
            yield _Pool(title(stateful), settings, spec["replicas"], claims, pod, spec["selector"]["matchLabels"])


_MAJORITY = re.compile(r"^MAJORITY=(\d+)$", re.MULTILINE)
_MAXMEMORY = re.compile(r"^maxmemory (\d+)$", re.MULTILINE)


def sentinel_problems(objects: Objects) -> list[str]:
    """Sentinels that could not elect, or elect twice; servers that may hold more than their memory."""
    found = []
    for (namespace, name), data in config_maps(objects).items():
        if "sentinel.conf" in data:
            user = _users(objects, namespace, name)
            votes = int(_MAJORITY.findall(data["members.sh"])[0])
            if user.least % 2 == 0 or user.least < 3:
                found.append(f"{user}: {user.least} Sentinels")
            if votes != user.least // 2 + 1:
                found.append(f"{user}: {votes} votes of {user.least} are no majority or too many")
            members = set(re.findall(rf"\b{user.name}-\d+(?= )", data["members.sh"]))
            if members != set(user.pod_names):
                found.append(f"{user}: the members are {sorted(members)}")
            limit = quantity(user.pod["containers"][0]["resources"]["limits"]["memory"])
            if int(_MAXMEMORY.findall(data["server.conf"])[0]) > limit / 2:
                found.append(f"{user}: maxmemory leaves less than half of the memory for a snapshot")
    return found


def _users(objects: Objects, namespace: str, config_map: str) -> Any:
    """The workload that mounts a ConfigMap."""
    for workload in workloads(objects):
        mounted = [volume.get("configMap", {}).get("name") for volume in workload.pod.get("volumes", [])]
        if workload.namespace == namespace and config_map in mounted:
            return workload
    raise LookupError(config_map)
