"""The platform outlives the loss of a node, a pod and a hung program."""

import pytest

from tests.manifests.rules import availability
from tests.manifests.rules.mutation import Break, assert_noticed, broken, setting, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept, workloads


@pytest.mark.parametrize(
    "rule",
    [
        availability.probe_problems,
        availability.quorum_problems,
        availability.spread_problems,
        availability.rollout_problems,
        availability.two_node_problems,
    ],
    ids=lambda rule: rule.__name__,
)
def test_one_failure_is_no_outage(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


def test_a_cluster_of_several_zones_spreads_everything_over_them(everything: Objects) -> None:
    assert availability.zone_problems(everything) == []
    crowded = broken(
        everything,
        without("StatefulSet/pusher", "pod.topologySpreadConstraints"),
        without("Cluster/postgresql-main", "spec.topologySpreadConstraints"),
    )
    assert [problem.split()[1] for problem in availability.zone_problems(crowded)] == ["matrix/pusher", "matrix/postgresql-main"]


def test_every_quorum_is_a_workload(everything: Objects) -> None:
    assert {workload.name for workload in workloads(everything)} >= availability.QUORUMS


MUTATIONS: list[tuple[Rule, Break, str]] = [
    (availability.probe_problems, without("StatefulSet/pusher", "container.livenessProbe"), "no livenessProbe"),
    (availability.probe_problems, without("Deployment/haproxy", "container.readinessProbe"), "no readinessProbe"),
    (availability.quorum_problems, without("StatefulSet/redis", "pod.affinity"), "matrix/redis"),
    (
        availability.quorum_problems,
        setting("Cluster/postgresql-main", "spec.affinity.podAntiAffinityType", "preferred"),
        "matrix/postgresql-main",
    ),
    (availability.quorum_problems, without("Tenant/minio-main", "spec.pools[0].affinity"), "matrix/minio-main"),
    (availability.spread_problems, without("StatefulSet/pusher", "pod.topologySpreadConstraints"), "matrix/pusher"),
    (
        availability.spread_problems,
        setting("StatefulSet/pusher", "pod.topologySpreadConstraints[0].labelSelector.matchLabels", {"a": "b"}),
        "not its own",
    ),
    (availability.rollout_problems, without("Deployment/haproxy", "spec.strategy"), "matrix/haproxy"),
    (availability.two_node_problems, without("Deployment/haproxy", "pod.topologySpreadConstraints[0]"), "matrix/haproxy: its 2 pods"),
    (
        availability.two_node_problems,
        setting("Deployment/redis-proxy", "pod.topologySpreadConstraints[0].maxSkew", 2),
        "matrix/redis-proxy: its 2 pods",
    ),
    (
        availability.two_node_problems,
        without("Deployment/element-web", "pod.topologySpreadConstraints[0].nodeTaintsPolicy"),
        "or wait where one has room",
    ),
    (availability.two_node_problems, without("StatefulSet/redis", "pod.affinity"), "matrix/redis: its 3 pods"),
]


def test_a_deployment_with_a_volume_ends_the_old_pod_before_it_starts_a_new_one(everything: Objects) -> None:
    change = setting("Deployment/signature-mirror", "spec.strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}})
    assert_noticed(availability.rollout_problems, everything, change, "matrix/signature-mirror starts a pod that waits")


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in MUTATIONS]
)
def test_a_single_point_of_failure_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)
