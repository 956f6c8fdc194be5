"""What a PostgreSQL cluster promises beyond numbers that fit: TLS alone, no lost commit, memory shared out, an archive that can be restored."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from tests.manifests.rules.budget import postgres_size, quantity
from tests.manifests.rules.objects import Object, Objects, config_maps, namespace_of, of_kind, strings, title

BACKUP_PLUGIN = "barman-cloud.cloudnative-pg.io"

# https://www.postgresql.org/docs/current/auth-pg-hba-conf.html: which first words match a connection.
_IN_THE_CLEAR = ("host", "hostnossl")
_OVER_TLS = ("host", "hostssl")

# https://www.postgresql.org/docs/current/runtime-config-autovacuum.html
_AUTOVACUUM_DEFAULTS = {"autovacuum_vacuum_scale_factor": 0.2, "autovacuum_analyze_scale_factor": 0.1}


def connection_security_problems(objects: Objects) -> list[str]:
    """Clusters that take a connection in the clear, or one over TLS by less than a password that is never sent as it is."""
    found = []
    for cluster in of_kind(objects, "Cluster"):
        lines = [line.split() for line in cluster["spec"]["postgresql"].get("pg_hba", [])]
        for what, kinds, wanted in (("in the clear", _IN_THE_CLEAR, "reject"), ("over TLS", _OVER_TLS, "scram-sha-256")):
            answer = next((line[4:] for line in lines if line[0] in kinds and line[1:4] == ["all"] * 3), ["CloudNativePG's own rule"])
            if answer != [wanted]:
                found.append(f"{title(cluster)} answers a connection {what} with {' '.join(answer)}, not with {wanted}")
        # Rules for some databases, users or addresses alone would have to be judged one by one.
        found += [f"{title(cluster)}: {' '.join(line)} is not for all" for line in lines if line[1:4] != ["all"] * 3]
    return found


def durability_problems(objects: Objects) -> list[str]:
    """Clusters that could lose an acknowledged commit though they have standbys enough to insist on one."""
    found = []
    for cluster in of_kind(objects, "Cluster"):
        instances, synchronous = cluster["spec"]["instances"], cluster["spec"]["postgresql"]["synchronous"]
        # With one standby, insisting on it would stop every write while it is away.
        wanted = "required" if instances > 2 else "preferred"
        if synchronous.get("dataDurability") != wanted:
            found.append(
                f"{title(cluster)}: dataDurability with {instances} instances is {wanted}, not {synchronous.get('dataDurability')}"
            )
    return found


def promoted(instances: int, acknowledging: int, away: int) -> bool:
    """Whether the operator promotes a standby when the primary is lost and so many standbys are away.

    R + W > N: cloudnative-pg 1.30, internal/controller/replicas_quorum.go, evaluateQuorumCheckWithStatus. N: the standbys; W: how many
    acknowledge a commit, none of which is refused; R: standbys within reach.
    """
    standbys = instances - 1
    return acknowledging > 0 and (standbys - away) + acknowledging > standbys


def written(instances: int, acknowledging: int, away: int) -> bool:
    """Whether commits are acknowledged with so many standbys away, where as many must have them as are said."""
    return instances - 1 - away >= acknowledging


def failover_problems(objects: Objects) -> list[str]:
    """Clusters in which one loss more than must be stops writes, or a failover: with one of three away, with one of four and then the primary."""
    found = []
    for cluster in of_kind(objects, "Cluster"):
        instances, number = cluster["spec"]["instances"], cluster["spec"]["postgresql"]["synchronous"]["number"]
        if not promoted(instances, number, away=0):
            found.append(f"{title(cluster)}: no standby is promoted when the primary alone is lost")
        if instances > 3 and not promoted(instances, number, away=1):
            found.append(f"{title(cluster)}: no standby is promoted while one of {instances - 1} is away: {number} acknowledge a commit")
        if instances > 2 and not written(instances, number, away=1):
            found.append(f"{title(cluster)}: with one standby away nothing is written: {number} of {instances - 1} must acknowledge")
    return found


def tuning_problems(objects: Objects) -> list[str]:
    """Clusters whose memory, processors or WAL volume are shared out otherwise than it is promised."""
    return [f"{title(cluster)}: {problem}" for cluster in of_kind(objects, "Cluster") for problem in _tuning(cluster["spec"])]


def _tuning(spec: Mapping[str, Any]) -> Iterator[str]:
    parameters = spec["postgresql"]["parameters"]
    memory, wal = quantity(spec["resources"]["limits"]["memory"]), quantity(spec["walStorage"]["size"])
    # PostgreSQL's documentation advises a quarter for the buffers; the system's own cache has much of the rest.
    shares = {
        "shared_buffers": memory / 4,
        "effective_cache_size": memory * 3 / 4,
        "maintenance_work_mem": min(memory / 16, 2**31),
        "max_wal_size": wal / 2,
        "max_slot_wal_keep_size": wal / 4,
        "min_wal_size": wal / 16,
        "wal_keep_size": wal / 16,
    }
    for name, share in shares.items():
        if not share - 2**20 < postgres_size(parameters[name]) <= share:
            yield f"{name} is {parameters[name]}, not {share / 2**20:.0f}MB"
    if not 4 * 2**20 <= postgres_size(parameters["work_mem"]) <= 64 * 2**20:
        yield f"work_mem is {parameters['work_mem']}, not between 4MB and 64MB"
    workers, cores = int(parameters["max_parallel_workers"]), max(2, int(quantity(spec["resources"]["requests"]["cpu"])))
    if workers != cores:
        yield f"{workers} parallel workers on {cores} cores"
    if not 1 <= int(parameters["max_parallel_workers_per_gather"]) <= min(2, workers):
        yield "one query takes more than two parallel workers, or none"
    if not 2 * workers <= int(parameters["max_worker_processes"]) <= max(16, 2 * workers):
        yield f"{parameters['max_worker_processes']} worker processes, of which {workers} are for queries"
    for name, default in _AUTOVACUUM_DEFAULTS.items():
        if not 0 < float(parameters.get(name, default)) < default / 2:
            yield f"{name} lets the tables that Synapse always updates bloat"
    if not 200 < int(parameters.get("autovacuum_vacuum_cost_limit", 200)) <= 10_000:
        yield "autovacuum is as slow as by default, or takes more than PostgreSQL lets it"


def client_service_problems(objects: Objects) -> list[str]:
    """Clusters with Services for reading alone: nobody is to read from a standby, which may be behind."""
    found = []
    for cluster in of_kind(objects, "Cluster"):
        disabled = cluster["spec"].get("managed", {}).get("services", {}).get("disabledDefaultServices", [])
        if sorted(disabled) != ["r", "ro"]:
            found.append(f"{title(cluster)} has other Services than that of the primary: {disabled} are left out")
    return found


def spread_problems(objects: Objects) -> list[str]:
    """Clusters that spread other pods than their own instances."""
    return [
        f"{title(cluster)} spreads pods that are not its own"
        for cluster in of_kind(objects, "Cluster")
        for constraint in cluster["spec"].get("topologySpreadConstraints", [])
        if constraint["labelSelector"]["matchLabels"] != {"cnpg.io/cluster": cluster["metadata"]["name"]}
    ]


# -- further databases


def database_problems(objects: Objects) -> list[str]:
    """Databases and roles of no cluster, databases without an owner of their own, and a database of the cluster's first user."""
    found = []
    clusters = {(namespace_of(c), c["metadata"]["name"]): c["spec"]["bootstrap"]["initdb"] for c in of_kind(objects, "Cluster")}
    roles = {(namespace_of(o), o["spec"]["cluster"]["name"], o["spec"]["name"]) for o in of_kind(objects, "DatabaseRole")}
    for o in of_kind(objects, "Database", "DatabaseRole"):
        spec, place = o["spec"], (namespace_of(o), o["spec"]["cluster"]["name"])
        if place not in clusters:
            found.append(f"{title(o)}: there is no cluster {place[1]}")
        elif spec["name"] in (clusters[place]["database"], clusters[place]["owner"]):
            found.append(f"{title(o)}: {spec['name']} is what the cluster is made with")
        if o["kind"] == "Database" and (*place, spec["owner"]) not in roles:
            found.append(f"{title(o)}: there is no role {spec['owner']}")
        if not any(spec["name"] in text for c in of_kind(objects, "ConfigMap") for _, text in strings(c.get("data", {}))):
            found.append(f"{title(o)}: no program's configuration names {spec['name']}")
    return found


# -- backups


def archive_problems(objects: Objects) -> list[str]:
    """Clusters and schedules that do not back up by the plugin, and archives that share a place, or are where nobody makes a bucket."""
    found = []
    for cluster in of_kind(objects, "Cluster"):
        found += [f"{title(cluster)} archives by {p['name']}" for p in cluster["spec"].get("plugins", []) if p["name"] != BACKUP_PLUGIN]
        found += [f"{title(cluster)}: {problem}" for problem in _generation_problems(cluster, objects)]
    # One that stays behind archives over itself after a major upgrade, and has no base backup where the store is a new one.
    names = [
        plugin["parameters"].get("serverName", "")
        for cluster in of_kind(objects, "Cluster")
        for plugin in cluster["spec"].get("plugins", [])
    ]
    if len({name.rpartition("-")[2] for name in names}) > 1:
        found.append(f"{' and '.join(sorted(names))} are of different generations")
    for schedule in of_kind(objects, "ScheduledBackup"):
        if schedule["spec"].get("pluginConfiguration", {}).get("name") != BACKUP_PLUGIN:
            found.append(f"{title(schedule)} does not back up by {BACKUP_PLUGIN}")
    stores = of_kind(objects, "ObjectStore")
    for store in stores:
        configuration = store["spec"]["configuration"]
        bucket, _, folder = configuration["destinationPath"].removeprefix("s3://").partition("/")
        if folder != store["metadata"]["name"] or not configuration["destinationPath"].startswith("s3://"):
            found.append(f"{title(store)} keeps its archive at {configuration['destinationPath']}")
        if not re.fullmatch(r"[1-9]\d{0,2}[dwm]", store["spec"].get("retentionPolicy", "")):
            found.append(f"{title(store)} keeps its archive for {store['spec'].get('retentionPolicy', 'ever')}")
        found += [f"{title(store)}: {problem}" for problem in _bucket_problems(store, bucket, objects)]
        # More than there are processors to compress with would take them from the database.
        if not 1 <= configuration["wal"]["maxParallel"] <= 8 or not 1 <= configuration["data"]["jobs"] <= 4:
            found.append(f"{title(store)} sends with {configuration['wal']['maxParallel']} and {configuration['data']['jobs']} processes")
    places = [(title(store), store["spec"]["configuration"]) for store in stores]
    for (one, a), (other, b) in combinations(places, 2):
        if (a["endpointURL"], a["destinationPath"]) == (b["endpointURL"], b["destinationPath"]):
            found.append(f"{one} and {other} have one archive")
    return found


def _generation_problems(cluster: Object, objects: Objects) -> Iterator[str]:
    """Why a cluster would archive into the archive of another, be made of none, or have no base backup until the first night."""
    spec, name = cluster["spec"], cluster["metadata"]["name"]
    (own,) = (plugin["parameters"].get("serverName", "") for plugin in spec["plugins"])
    if not re.fullmatch(rf"{name}-[1-9]\d*", own):
        yield f"its archive is called {own!r}, and not by a generation"
    if recovery := spec["bootstrap"].get("recovery"):
        sources = {one["name"]: one["plugin"]["parameters"] for one in spec.get("externalClusters", [])}
        source = sources.get(recovery["source"], {})
        if source.get("barmanObjectName") != name or not re.fullmatch(rf"{name}-[1-9]\d*", source.get("serverName", "")):
            yield f"it is made of {source or 'nothing'}"
        elif source["serverName"] == own:
            yield "it archives where what it is made of has archived, and the plugin refuses that"
    requests = [json.loads(files["request.json"]) for files in config_maps(objects).values() if "request.json" in files]
    firsts = [request for request in requests if request.get("plugin") and request["cluster"] == name]
    wanted = {"namespace": namespace_of(cluster), "cluster": name, "generation": int(own.rpartition("-")[2] or 0), "plugin": BACKUP_PLUGIN}
    if firsts != [wanted]:
        yield f"nobody takes the first base backup of {own}"


def _bucket_problems(store: Object, bucket: str, objects: Objects) -> Iterator[str]:
    """Why a store could not use a bucket: nobody makes it, or not for its user, or its clients know another address."""
    configuration, namespace = store["spec"]["configuration"], namespace_of(store)
    provisioned = [job for job in _bucket_jobs(objects) if job["endpoint"] == configuration["endpointURL"]]
    secret = configuration["s3Credentials"]["accessKeyId"]["name"]
    for job in provisioned:
        if bucket not in [made["name"] for made in job["buckets"]]:
            yield f"the Job of the buckets makes no {bucket}"
        user = secret.partition("-user-")[2]
        allowed = {one["name"]: str(one["policy"]["document"]) for one in job["users"]}
        if f"arn:aws:s3:::{bucket}/*" not in allowed.get(user, ""):
            yield f"the user {user!r} may not write to {bucket}"
    if not provisioned:
        # Storage of others: then all that is known of its address is that Synapse keeps its media there, or that it must not.
        known = [text for o in of_kind(objects, "ConfigMap") if namespace_of(o) == namespace for _, text in strings(o.get("data", {}))]
        shared = any(f"endpoint_url: {configuration['endpointURL']}\n" in text for text in known)
        apart = secret.startswith("backup-storage-")
        if apart and shared:
            yield f"it is to be apart from media, which are at {configuration['endpointURL']} too"
        elif not apart and not shared:
            yield f"nobody else in {namespace} knows {configuration['endpointURL']}"


def _bucket_jobs(objects: Objects) -> list[dict[str, Any]]:
    """What the Jobs of buckets are asked for."""
    maps = [o for o in of_kind(objects, "ConfigMap") if "-buckets-request" in o["metadata"]["name"]]
    return [json.loads(text) for o in maps for text in o["data"].values()]
