"""Every size has a place on the nodes that docs/reference/budget.md names, and still has one when any of them is lost."""

from collections import Counter
from typing import Any

import pytest

from app.inspection.nodes import Need, Pod, add, need, one_per_node, placed, pods_of, waiting
from kit.quantities import Bytes, Cpu
from overlays import Profile, profiles
from tests.manifests.rules.mutation import broken, without
from tests.manifests.rules.objects import Object, Objects, of_kind, workloads

GIB = 2**30
PROFILES = pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)


def on_nodes(objects: Objects) -> tuple[Need, list[Any]]:
    """The nodes that the size needs, with its pods on them; what DaemonSets take is taken off."""
    wanted = need(objects)
    pods, everywhere = pods_of(objects)
    return wanted, placed(pods, wanted.nodes, wanted.cpu.millicores - everywhere.cpu, wanted.memory.count - everywhere.memory)


@PROFILES
def test_all_pods_have_a_place_and_those_that_must_be_apart_are(profile: Profile, built: dict[str, Objects]) -> None:
    objects = built[profile.name]
    wanted, nodes = on_nodes(objects)
    assert sum(len(node.pods) for node in nodes) == len(pods_of(objects)[0])
    apart = {(namespace, name) for namespace, name, _ in one_per_node(objects)}
    for node in nodes:
        assert [workload for workload, count in Counter(pod.workload for pod in node.pods).items() if count > 1 and workload in apart] == []
        assert sum(pod.cpu for pod in node.pods) <= wanted.cpu.millicores
        assert sum(pod.memory for pod in node.pods) <= wanted.memory.count


@PROFILES
def test_when_any_node_is_lost_only_those_wait_that_must_be_apart(profile: Profile, built: dict[str, Objects]) -> None:
    _, nodes = on_nodes(built[profile.name])
    apart = {(namespace, name) for namespace, name, _ in one_per_node(built[profile.name])}
    for lost in range(len(nodes)):
        assert {pod.workload for pod in waiting(nodes, lost)} <= apart


@PROFILES
def test_no_node_holds_all_of_what_there_are_two_of_or_a_majority_of_a_quorum(profile: Profile, built: dict[str, Objects]) -> None:
    objects = built[profile.name]
    _, nodes = on_nodes(objects)
    several = {(w.namespace, w.name): w.least for w in workloads(objects) if w.least >= 2 and w.kind in ("Deployment", "StatefulSet")}
    several |= {(o["metadata"]["namespace"], o["metadata"]["name"]): o["spec"]["instances"] for o in of_kind(objects, "Cluster")}
    for node in nodes:
        for workload, count in several.items():
            there = node.has(workload)
            assert there < count, workload
            assert workload[1] != "redis" or count - there > count // 2


def test_nodes_are_as_many_as_pods_that_must_be_apart(built: dict[str, Objects]) -> None:
    assert need(broken(built["10000-ccu"])).nodes == 5
    alone = broken(built["10000-ccu"], without("StatefulSet/redis", "pod.affinity"), without("StatefulSet/livekit", "pod.affinity"))
    assert need(alone).nodes == 3


def deployment(name: str, replicas: int, cpu: str, memory: str) -> Object:
    resources = {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}
    spec = {"replicas": replicas, "template": {"spec": {"containers": [{"resources": resources}]}}}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name, "namespace": "n", "labels": {}}, "spec": spec}


def test_the_need_of_a_few_pods_can_be_worked_out_by_hand() -> None:
    """Six pods of one core: two on each of three nodes; with one lost, three on each of two."""
    wanted = need([deployment("a", 3, "1000m", "1Gi"), deployment("b", 3, "1000m", "1Gi")])
    assert wanted == Need(3, Cpu(3000), Bytes(3 * GIB))


def test_a_pod_that_must_be_apart_waits_for_a_node_and_any_other_for_room() -> None:
    alone, large = Pod(("n", "a"), 1, 1, apart=True), Pod(("n", "b"), 6, 1, apart=False)
    nodes = placed([alone, alone, large], 2, 10, 10)
    assert waiting(nodes, 0) == [alone]
    assert add(nodes, [Pod(("n", "c"), 11, 1, apart=False)]) != []
    with pytest.raises(ValueError, match="2 nodes have no room for n/b"):
        placed([large, large, large], 2, 10, 10)
