"""A namespace admits what is declared in it, in the middle of an update too, and not much more."""

from functools import partial
from typing import Any

import pytest

from infrastructure.quotas import quotas
from overlays import Profile, profiles
from tests.manifests.rules.mutation import Break, assert_noticed, deleting, setting, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept, of_kind
from tests.manifests.rules.quotas import admitted, daemons, limit_range_problems, quota_problems

HEADROOM = 1.5
"""All quotas together, as a share of the envelope: autoscalers at their ceiling, updates, Jobs, a restored database, and people's pods."""


@pytest.mark.parametrize("rule", [quota_problems, limit_range_problems], ids=lambda rule: rule.__name__)
def test_every_declared_pod_is_admitted(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_the_quotas_are_not_much_more_than_the_envelope(profile: Profile, built: dict[str, Objects]) -> None:
    assert excess(profile, built[profile.name]) == []


def excess(profile: Profile, objects: Objects) -> list[str]:
    allowed, on_every_node, envelope = admitted(objects), daemons(objects), profile.envelope
    limits = {
        "requests.cpu": envelope.cpu.millicores / 1000,
        "requests.memory": envelope.memory.count,
    }
    taken = {key: allowed[key] - on_every_node[key] for key in limits}
    return [f"{profile.name}: {key}: {taken[key]:g} of {most:g}" for key, most in limits.items() if taken[key] > HEADROOM * most]


def test_a_quota_far_beyond_the_envelope_is_noticed(built: dict[str, Objects]) -> None:
    profile = profiles()[0]
    for key, amount in (("requests.cpu", "13"), ("requests.memory", "25Gi")):
        change = setting(QUOTA, f'spec.hard."{key}"', amount)
        assert_noticed(partial(excess, profile), built[profile.name], change, key)


QUOTA, DEFAULTS = "ResourceQuota/matrix/platform", "LimitRange/matrix/platform"
MUTATIONS: list[tuple[Rule, Break, str]] = [
    (quota_problems, deleting("ResourceQuota/platform"), "has 0 quotas"),
    (quota_problems, without(QUOTA, 'spec.hard."requests.memory"'), "no limit of requests.memory"),
    (quota_problems, setting(QUOTA, 'spec.hard."requests.storage"', "1Ti"), "has a limit of requests.storage"),
    (quota_problems, setting(QUOTA, 'spec.hard."limits.cpu"', "4"), "has a limit of limits.cpu"),
    (quota_problems, setting(QUOTA, "spec.hard.pods", "40"), "admits pods"),
    (quota_problems, setting("HorizontalPodAutoscaler/synchrotron", "spec.maxReplicas", 40), "admits pods"),
    (
        quota_problems,
        setting("Deployment/haproxy", "spec.strategy.rollingUpdate.maxSurge", 20),
        "admits pods",
    ),
    (quota_problems, setting("Cluster/postgresql-main", "spec.instances", 6), "admits requests.memory"),
    (
        quota_problems,
        setting("Tenant/minio-main", "spec.pools[0].servers", 40),
        "admits pods",
    ),
    (
        quota_problems,
        setting("Job/secret-generator", "container.resources.requests.cpu", "4"),
        "admits requests.cpu",
    ),
    (
        quota_problems,
        setting("StatefulSet/redis", "container.resources.limits.memory", "16Gi"),
        "admits limits.memory",
    ),
    (quota_problems, setting(DEFAULTS, "spec.limits[0].default.memory", "8Gi"), "admits limits.memory"),
    (limit_range_problems, deleting("LimitRange/platform"), "has 0 ranges"),
    (limit_range_problems, setting(DEFAULTS, "spec.limits[0].default.cpu", "1"), "gives"),
    (limit_range_problems, without(DEFAULTS, "spec.limits[0].defaultRequest.cpu"), "gives"),
    (limit_range_problems, setting(DEFAULTS, "spec.limits[0].max", {"memory": "1Gi"}), "limits containers by"),
    (limit_range_problems, setting(DEFAULTS, "spec.limits[0].default.memory", "32Mi"), "more memory than it allows"),
]


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{number}-{mention[:24]}" for number, (_, _, mention) in enumerate(MUTATIONS)]
)
def test_a_namespace_that_refuses_a_pod_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)


def test_a_quota_is_right_for_a_namespace_that_can_be_added_up_by_hand() -> None:
    resources = {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"memory": "200Mi"}}
    template = {"metadata": {}, "spec": {"containers": [{"name": "a", "resources": resources}]}}
    strategy = {"rollingUpdate": {"maxSurge": "25%"}}

    def named(kind: str, spec: object) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": kind.lower(), "namespace": "n"}, "spec": spec}

    target = {"kind": "Deployment", "name": "deployment"}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
        named("Deployment", {"template": template, "strategy": strategy}),
        named("HorizontalPodAutoscaler", {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 6}),
        named("StatefulSet", {"replicas": 3, "template": template}),
        named("DaemonSet", {"template": template}),
        named("CronJob", {"jobTemplate": {"spec": {"template": template}}}),
        named("Job", {"template": template}),
    ]
    (found,) = quotas(objects, nodes=5)
    # Six replicas and two more of an update, three of the StatefulSet, one on each of five nodes, two overlapping runs and a Job; and ten to spare.
    assert (found.pods, found.cpu.millicores) == (19 + 10, 19 * 100 + 10 * 25)
    assert found.memory.count == (19 * 100 + 10 * 64) * 2**20
    assert found.memory_limit.count == (19 * 200 + 10 * 256) * 2**20


def test_there_is_a_quota_for_every_namespace(everything: Objects) -> None:
    names = {o["metadata"]["name"] for o in of_kind(everything, "Namespace")}
    assert {o["metadata"]["namespace"] for o in of_kind(everything, "ResourceQuota")} == names >= {"matrix", "matrix-li"}
