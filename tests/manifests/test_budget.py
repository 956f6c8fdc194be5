"""The numbers of every profile fit: its envelope, the database's connections, volumes, erasure sets, votes, and Synapse's instances."""

from functools import partial

import pytest

from kit.quantities import Bytes
from overlays import Profile, profiles
from tests.manifests.rules import budget, processes
from tests.manifests.rules.mutation import Break, assert_noticed, deleting, replacing, setting, updating, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept, of_kind

# What the shipped site leaves of the envelope: virus scanning and monitoring must fit into it.
RESERVE = budget.Amount(cpu=0.15, memory=0.05, storage=0.02)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_the_requests_fit_the_envelope_with_a_reserve(profile: Profile, built: dict[str, Objects]) -> None:
    assert envelope_problems(available(profile), built[profile.name]) == []


def available(profile: Profile) -> budget.Amount:
    """What a profile's envelope leaves for the shipped site."""
    envelope = profile.envelope
    return budget.Amount(
        cpu=budget.quantity(str(envelope.cpu)) * (1 - RESERVE.cpu),
        memory=envelope.memory.count * (1 - RESERVE.memory),
        storage=envelope.storage.count * (1 - RESERVE.storage),
    )


def envelope_problems(most: budget.Amount, objects: Objects) -> list[str]:
    """What is requested beyond an amount."""
    used = budget.requested(objects)
    pairs = {"cpu": (used.cpu, most.cpu), "memory": (used.memory, most.memory), "storage": (used.storage, most.storage)}
    return [f"{what}: {wanted:g} of {there:g}" for what, (wanted, there) in pairs.items() if wanted > there]


@pytest.mark.parametrize(
    ("resource", "change"),
    [
        ("cpu", setting("Deployment/haproxy", "container.resources.requests.cpu", "3")),
        ("memory", setting("Deployment/haproxy", "container.resources.requests.memory", "6Gi")),
        ("storage", setting("Cluster/postgresql-main", "spec.storage.size", "1Ti")),
    ],
)
def test_requests_beyond_the_envelope_are_noticed(resource: str, change: Break, built: dict[str, Objects]) -> None:
    profile = profiles()[0]
    assert_noticed(partial(envelope_problems, available(profile)), built[profile.name], change, resource)


def test_the_sum_is_right_for_a_cluster_that_can_be_added_up_by_hand() -> None:
    requests = {"requests": {"cpu": "500m", "memory": "1Gi"}}
    claim = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    pod = {"containers": [{"name": "a", "resources": requests}, {"name": "b", "resources": requests}]}
    spec = {"replicas": 3, "template": {"metadata": {}, "spec": pod}, "volumeClaimTemplates": [claim]}
    pool = {"servers": 4, "volumesPerServer": 2, "resources": requests, "volumeClaimTemplate": claim}
    objects = [
        {"kind": "StatefulSet", "metadata": {"name": "s", "namespace": "n"}, "spec": spec},
        {"kind": "Tenant", "metadata": {"name": "t", "namespace": "n"}, "spec": {"pools": [pool]}},
    ]
    assert budget.requested(objects) == budget.Amount(cpu=5.0, memory=10 * Bytes(2**30).count, storage=22 * 2**30)


RULES = [
    budget.limit_problems,
    budget.connection_problems,
    budget.postgresql_problems,
    budget.schedule_problems,
    budget.backup_problems,
    budget.erasure_problems,
    budget.sentinel_problems,
    processes.main_problems,
    processes.list_problems,
    processes.writer_problems,
    processes.instance_problems,
    processes.instance_map_problems,
    processes.duty_problems,
    processes.listener_problems,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_number_fits(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


def test_there_is_something_to_count(built: dict[str, Objects]) -> None:
    for objects in built.values():
        # Main, and the workers of a site that has push, and neither federation, bridges nor single sign-on.
        assert len([process for process in processes.processes(objects) if not process.follows]) == 1 + 17
        assert all(of_kind(objects, kind) for kind in ("Cluster", "Tenant", "ScheduledBackup", "ObjectStore"))


POSTGRESQL = "Cluster/postgresql-main"
SHARDS = ("synapse-shards", "shards.yaml")
MUTATIONS: list[tuple[Rule, Break, str]] = [
    (
        budget.limit_problems,
        setting("StatefulSet/pusher", "container.resources.requests.memory", "9Gi"),
        "matrix/pusher",
    ),
    (
        budget.connection_problems,
        replacing("synapse-client-reader", "kind.yaml", "cp_max: 4", "cp_max: 50"),
        "connections",
    ),
    (
        budget.connection_problems,
        setting("HorizontalPodAutoscaler/synchrotron", "spec.maxReplicas", 40),
        "connections",
    ),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.postgresql.parameters.ssl", "on"), "ssl may not be set"),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.postgresql.parameters.max_connections", 180), "no text"),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.postgresql.parameters.shared_buffers", "1GB"), "40 %"),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.postgresql.parameters.work_mem", "64MB"), "work_mem"),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.postgresql.parameters.max_wal_size", "8GB"), "WAL volume"),
    (budget.postgresql_problems, setting(POSTGRESQL, "spec.instances", 1), "synchronous standbys"),
    (
        budget.postgresql_problems,
        setting(POSTGRESQL, "spec.postgresql.synchronous.dataDurability", "required"),
        "stops every write",
    ),
    (budget.schedule_problems, setting("ScheduledBackup/postgresql-main", "spec.schedule", "0 2 * * *"), "six fields"),
    (budget.backup_problems, deleting("ScheduledBackup/postgresql-main"), "no scheduled backup"),
    (budget.backup_problems, deleting("ObjectStore/postgresql-main"), "archives"),
    (budget.erasure_problems, setting("Tenant/minio-main", "spec.pools[0].volumesPerServer", 1), "EC:4"),
    (
        budget.erasure_problems,
        updating("Tenant/minio-main", "spec.pools[0]", servers=1, volumesPerServer=8),
        "a node",
    ),
    (budget.erasure_problems, without("Tenant/minio-main", "spec.pools[0].topologySpreadConstraints"), "pool-0: a node may have more"),
    (
        budget.erasure_problems,
        setting("Tenant/minio-main", "spec.pools[0].topologySpreadConstraints[0].maxSkew", 3),
        "pool-0: a node may have more",
    ),
    (
        budget.erasure_problems,
        setting(
            "Tenant/minio-main", "spec.pools[0].topologySpreadConstraints[0].labelSelector.matchLabels", {"v1.min.io/tenant": "minio-main"}
        ),
        "pool-0: a node may have more",
    ),
    (budget.sentinel_problems, setting("StatefulSet/redis", "spec.replicas", 4), "4 Sentinels"),
    (budget.sentinel_problems, setting("StatefulSet/redis", "spec.replicas", 5), "the members are"),
    (budget.sentinel_problems, replacing("redis-sentinel", "members.sh", "MAJORITY=2", "MAJORITY=1"), "majority"),
    (
        budget.sentinel_problems,
        setting("StatefulSet/redis", "container.resources.limits.memory", "40Mi"),
        "maxmemory",
    ),
    (processes.main_problems, setting("StatefulSet/synapse", "spec.replicas", 2), "main process"),
    (
        processes.list_problems,
        setting("StatefulSet/pusher", "container.args[0]", "--publish=/etc/synapse/shards/shards.yaml"),
        "pusher puts a list into force and mounts []",
    ),
    (processes.list_problems, replacing(*SHARDS, "stream_writers:", "streams:"), "synapse puts a list into force and mounts []"),
    (
        processes.list_problems,
        replacing("synapse-pusher", "kind.yaml", "worker_app:", "stream_writers: {}\nworker_app:"),
        "pusher does not put a list into force and mounts",
    ),
    (processes.writer_problems, replacing(*SHARDS, "  typing:\n", "  typing:\n  - receipts-0\n"), "typing"),
    (
        processes.writer_problems,
        replacing(*SHARDS, "  receipts:\n  - receipts-0", "  receipts:\n  - receipts-7"),
        "receipts-7",
    ),
    (processes.instance_problems, replacing(*SHARDS, "- pusher-0", "- pusher-4"), "is no pod"),
    (processes.instance_problems, setting("StatefulSet/event-persister", "spec.replicas", 2), "leaves out"),
    (processes.instance_problems, replacing(*SHARDS, "on: background-0", "on: background-1"), "background-1"),
    (
        processes.instance_problems,
        replacing(*SHARDS, "  events:\n", "  events:\n  - synchrotron-0\n  - synchrotron-1\n"),
        "autoscaler",
    ),
    (processes.instance_map_problems, replacing(*SHARDS, "  receipts-0:", "  receipts-1:"), "receipts-1"),
    (processes.instance_map_problems, replacing(*SHARDS, "host: receipts-0.", "host: encryption-0."), "sends receipts-0"),
    (processes.duty_problems, setting("StatefulSet/pusher", "spec.replicas", 2), "pusher-1 is not in"),
    (
        processes.listener_problems,
        replacing("synapse-pusher", "kind.yaml", "port: 9001", "port: 9002"),
        "matrix/pusher declares",
    ),
]


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in MUTATIONS]
)
def test_a_number_that_does_not_fit_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)
