"""The numbers of every profile fit: its envelope, the database's connections, volumes, erasure sets, votes, and Synapse's instances."""

import pytest

from kit.quantities import Bytes
from overlays import Profile, profiles
from tests.manifests.rules import budget, processes
from tests.manifests.rules.mutation import Break, assert_noticed, container, pick, remove, replace_text
from tests.manifests.rules.objects import Objects, Rule, assert_kept, of_kind

# What the main instance leaves of the envelope: the interception instance's database and homeserver, virus scanning and monitoring must
# fit into it.
RESERVE = budget.Amount(cpu=0.18, memory=0.12, storage=0.05)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_the_requests_fit_the_envelope_with_a_reserve(profile: Profile, built: dict[str, Objects]) -> None:
    assert envelope_problems(profile, built[profile.name]) == []


def envelope_problems(profile: Profile, objects: Objects) -> list[str]:
    used, envelope = budget.requested(objects), profile.envelope
    limits = {
        "cpu": (used.cpu, float(str(envelope.cpu).removesuffix("m")) / (1000 if str(envelope.cpu).endswith("m") else 1)),
        "memory": (used.memory, envelope.memory.count),
        "storage": (used.storage, envelope.storage.count),
    }
    return [
        f"{profile.name}: {what}: {wanted:g} of {all_there_is:g}"
        for what, (wanted, all_there_is) in limits.items()
        if wanted > (1 - getattr(RESERVE, what)) * all_there_is
    ]


def test_requests_beyond_the_envelope_are_noticed(built: dict[str, Objects]) -> None:
    profile = profiles()[0]
    for resource, amount in (("cpu", "3"), ("memory", "6Gi")):
        rule = lambda objects: envelope_problems(profile, objects)  # noqa: E731
        change: Break = lambda o, r=resource, a=amount: container(o, "Deployment", "haproxy")["resources"]["requests"].update({r: a})  # type: ignore[misc]  # noqa: E731
        assert_noticed(rule, built[profile.name], change, resource)
    rule = lambda objects: envelope_problems(profile, objects)  # noqa: E731
    assert_noticed(
        rule, built[profile.name], lambda o: pick(o, "Cluster", "postgresql-main")["spec"]["storage"].update(size="1Ti"), "storage"
    )


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
        assert len(processes.processes(objects)) == 23
        assert all(of_kind(objects, kind) for kind in ("Cluster", "Tenant", "ScheduledBackup", "ObjectStore"))


SHARDS = ("synapse-shards", "shards.yaml")
MUTATIONS: list[tuple[Rule, Break, str]] = [
    (
        budget.limit_problems,
        lambda o: container(o, "StatefulSet", "pusher")["resources"]["requests"].update(memory="9Gi"),
        "matrix/pusher",
    ),
    (
        budget.connection_problems,
        lambda o: replace_text(o, "synapse-homeserver", "homeserver.yaml", "cp_max: 5", "cp_max: 50"),
        "connections",
    ),
    (
        budget.connection_problems,
        lambda o: pick(o, "HorizontalPodAutoscaler", "synchrotron")["spec"].update(maxReplicas=40),
        "connections",
    ),
    (budget.postgresql_problems, lambda o: parameters(o).update(ssl="on"), "ssl may not be set"),
    (budget.postgresql_problems, lambda o: parameters(o).update(max_connections=180), "no text"),
    (budget.postgresql_problems, lambda o: parameters(o).update(shared_buffers="1GB"), "40 %"),
    (budget.postgresql_problems, lambda o: parameters(o).update(work_mem="64MB"), "work_mem"),
    (budget.postgresql_problems, lambda o: parameters(o).update(max_wal_size="8GB"), "WAL volume"),
    (budget.postgresql_problems, lambda o: pick(o, "Cluster", "postgresql-main")["spec"].update(instances=1), "synchronous standbys"),
    (
        budget.postgresql_problems,
        lambda o: pick(o, "Cluster", "postgresql-main")["spec"]["postgresql"]["synchronous"].update(dataDurability="required"),
        "stops every write",
    ),
    (budget.schedule_problems, lambda o: pick(o, "ScheduledBackup", "postgresql-main")["spec"].update(schedule="0 2 * * *"), "six fields"),
    (budget.backup_problems, lambda o: remove(o, "ScheduledBackup", "postgresql-main"), "no scheduled backup"),
    (budget.backup_problems, lambda o: remove(o, "ObjectStore", "postgresql-main"), "archives"),
    (budget.erasure_problems, lambda o: pick(o, "Tenant", "minio-main")["spec"]["pools"][0].update(volumesPerServer=1), "EC:4"),
    (
        budget.erasure_problems,
        lambda o: pick(o, "Tenant", "minio-main")["spec"]["pools"][0].update(servers=1, volumesPerServer=8),
        "a node",
    ),
    (budget.sentinel_problems, lambda o: pick(o, "StatefulSet", "redis")["spec"].update(replicas=4), "4 Sentinels"),
    (budget.sentinel_problems, lambda o: pick(o, "StatefulSet", "redis")["spec"].update(replicas=5), "the members are"),
    (budget.sentinel_problems, lambda o: replace_text(o, "redis-sentinel", "members.sh", "MAJORITY=2", "MAJORITY=1"), "majority"),
    (
        budget.sentinel_problems,
        lambda o: container(o, "StatefulSet", "redis")["resources"]["limits"].update(memory="40Mi"),
        "maxmemory",
    ),
    (processes.main_problems, lambda o: pick(o, "StatefulSet", "synapse")["spec"].update(replicas=2), "main process"),
    (processes.writer_problems, lambda o: replace_text(o, *SHARDS, "  typing:\n", "  typing:\n  - receipts-0\n"), "typing"),
    (
        processes.writer_problems,
        lambda o: replace_text(o, *SHARDS, "  receipts:\n  - receipts-0", "  receipts:\n  - receipts-7"),
        "receipts-7",
    ),
    (processes.instance_problems, lambda o: replace_text(o, *SHARDS, "- federation-sender-0", "- federation-sender-4"), "is no pod"),
    (processes.instance_problems, lambda o: pick(o, "StatefulSet", "event-persister")["spec"].update(replicas=2), "leaves out"),
    (processes.instance_problems, lambda o: replace_text(o, *SHARDS, "on: background-0", "on: background-1"), "background-1"),
    (
        processes.instance_problems,
        lambda o: replace_text(o, *SHARDS, "  events:\n", "  events:\n  - synchrotron-0\n  - synchrotron-1\n"),
        "autoscaler",
    ),
    (processes.instance_map_problems, lambda o: replace_text(o, *SHARDS, "  receipts-0:", "  receipts-1:"), "receipts-1"),
    (processes.instance_map_problems, lambda o: replace_text(o, *SHARDS, "host: receipts-0.", "host: encryption-0."), "sends receipts-0"),
    (processes.duty_problems, lambda o: pick(o, "StatefulSet", "pusher")["spec"].update(replicas=2), "pusher-1 is not in"),
    (
        processes.listener_problems,
        lambda o: replace_text(o, "synapse-pusher", "kind.yaml", "port: 9001", "port: 9002"),
        "matrix/pusher declares",
    ),
]


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in MUTATIONS]
)
def test_a_number_that_does_not_fit_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)


def parameters(objects: Objects) -> dict[str, object]:
    found: dict[str, object] = pick(objects, "Cluster", "postgresql-main")["spec"]["postgresql"]["parameters"]
    return found
