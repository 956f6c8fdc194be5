"""What lies between two sets of objects, and what that does to pods."""

from copy import deepcopy
from typing import Any

import pytest

from app.inspection.changes import Action, Effect, changes, differences
from app.inspection.steps import left, refused, steps


def workload(kind: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "w", "namespace": "n", "labels": {"app.kubernetes.io/name": "c"}}
    metadata["annotations"] = {"argocd.argoproj.io/sync-wave": "3"}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


def reading(digest: str) -> dict[str, Any]:
    volume = {"name": "config", "configMap": {"name": f"c-{digest}"}}
    return {"spec": {"containers": [{"name": "a", "image": "a:1"}], "volumes": [volume]}}


def config_map(digest: str, text: str) -> dict[str, Any]:
    metadata = {"name": f"c-{digest}", "namespace": "n"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": text}}


def having(**parameters: str) -> dict[str, Any]:
    return {"parameters": parameters}


ONE, OTHER = "5h2k9tgm4c", "bb6m7ktd2f"


def tenant(servers: int, drive: str) -> dict[str, Any]:
    claim = {"spec": {"resources": {"requests": {"storage": drive}}}}
    return workload("Tenant", pools=[{"name": "pool-0", "servers": servers, "volumesPerServer": 2, "volumeClaimTemplate": claim}])


def claims(size: str) -> list[dict[str, Any]]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return [{"metadata": {"name": "data"}, "spec": spec}]


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (workload("Deployment", replicas=1, template={"a": 1}), workload("Deployment", replicas=2, template={"a": 1}), Effect.GROWS),
        (workload("StatefulSet", replicas=3, template={"a": 1}), workload("StatefulSet", replicas=2, template={"a": 1}), Effect.SHRINKS),
        (workload("DaemonSet", template={"a": 1}), workload("DaemonSet", template={"a": 2}), Effect.RESTARTS),
        (workload("Deployment", template=reading(ONE)), workload("Deployment", template=reading(OTHER)), Effect.RESTARTS),
        (workload("Deployment", strategy={"type": "a"}), workload("Deployment", strategy={"type": "b"}), Effect.NONE),
        (workload("Cluster", instances=2), workload("Cluster", instances=3), Effect.GROWS),
        (workload("Cluster", storage={"size": "1Gi"}), workload("Cluster", storage={"size": "2Gi"}), Effect.NONE),
        (workload("Cluster", storage={"size": "2Gi"}), workload("Cluster", storage={"size": "1Gi"}), Effect.REFUSED),
        (workload("Cluster", resources={"cpu": 1}), workload("Cluster", resources={"cpu": 2}), Effect.RESTARTS),
        (workload("Cluster", postgresql=having(work_mem="4MB")), workload("Cluster", postgresql=having(work_mem="8MB")), Effect.NONE),
        (
            workload("Cluster", postgresql=having(max_connections="100")),
            workload("Cluster", postgresql=having(max_connections="200")),
            Effect.RESTARTS,
        ),
        (workload("Cluster", walStorage={"size": "1Gi"}), workload("Cluster"), Effect.REFUSED),
        (tenant(4, "1Gi"), tenant(4, "2Gi"), Effect.RESTARTS),
        (tenant(4, "1Gi"), tenant(6, "1Gi"), Effect.REFUSED),
        (tenant(4, "2Gi"), tenant(4, "1Gi"), Effect.REFUSED),
        (
            workload("StatefulSet", volumeClaimTemplates=claims("1Gi")),
            workload("StatefulSet", volumeClaimTemplates=claims("2Gi")),
            Effect.REFUSED,
        ),
        (workload("Service", ports=[{"port": 1}]), workload("Service", ports=[{"port": 2}]), Effect.NONE),
    ],
)
def test_a_change_does_to_pods_what_kubernetes_and_the_operators_do(before: Any, after: Any, effect: Effect) -> None:
    (change,) = changes([before], [after])
    assert (change.effect, change.action) == (effect, Action.CHANGED)
    assert (change.refused is not None) == (effect is Effect.REFUSED)


def test_what_is_as_it_was_is_no_change() -> None:
    objects = [workload("Deployment", template=reading(ONE)), config_map(ONE, "x")]
    assert changes(objects, deepcopy(objects)) == ()


def test_a_generated_config_map_with_another_content_is_the_same_one_changed() -> None:
    (change,) = changes([config_map(ONE, "x")], [config_map(OTHER, "y")])
    assert (str(change.identity), [field.path for field in change.fields]) == ("ConfigMap n/c", ["data.a"])


def test_another_job_in_the_place_of_one_runs_once_and_the_same_one_does_not() -> None:
    old, new = workload("Job", template={"a": 1}), workload("Job", template={"a": 2})
    old["metadata"]["name"], new["metadata"]["name"] = "w-0123456789", "w-abcdef0123"
    (change,) = changes([old], [new])
    assert (change.effect, change.identity.name) == (Effect.RUNS, "w")
    labelled = deepcopy(old)
    labelled["metadata"]["labels"]["x"] = "y"
    assert [change.effect for change in changes([old], [labelled])] == [Effect.NONE]


def test_items_of_lists_are_compared_by_their_names() -> None:
    before = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    after = {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}
    assert [field.path for field in differences(before, after)] == ["containers[b].image"]


def test_what_the_api_server_writes_is_no_change() -> None:
    live = workload("Deployment", replicas=1)
    live["metadata"] |= {"uid": "1", "resourceVersion": "7", "managedFields": [{}], "generation": 3, "creationTimestamp": "now"}
    live["status"] = {"replicas": 1}
    assert changes([live], [workload("Deployment", replicas=1)]) == ()


def test_every_change_is_in_one_step_or_is_refused_or_left_to_a_person() -> None:
    gone = workload("Service")
    gone["metadata"]["name"] = "old"
    before = [config_map(ONE, "x"), workload("Deployment", template=reading(ONE)), gone, tenant(4, "1Gi")]
    after = [config_map(OTHER, "y"), workload("Deployment", template=reading(OTHER)), tenant(6, "1Gi"), workload("Job")]
    found = changes(before, after)
    ordered = steps(found, {"c": "c"})
    made = [change for step in ordered for group in step.groups for change in group.changes]
    assert sorted([*made, *refused(found), *left(found)], key=str) == sorted(found, key=str)
    assert [step.wave for step in ordered] == [1, 3]
    assert [str(change.identity) for change in left(found)] == ["Service n/old"]


def test_pods_that_a_config_map_stops_stop_together_only_when_its_content_changes() -> None:
    before = [config_map(ONE, "x"), workload("Deployment", replicas=1)]
    (step,) = steps(changes(before, [config_map(ONE, "x"), workload("Deployment", replicas=2)]), {"c": "c"})
    assert [group.together for group in step.groups] == [False]
    both = steps(changes(before, [config_map(OTHER, "y"), workload("Deployment", replicas=2)]), {"c": "c"})
    assert [(step.wave, group.component, group.together) for step in both for group in step.groups] == [(1, "", False), (3, "c", True)]
