"""Where pods run and what they get, as a site wants it: of every workload, by its own name or its component's, in what the operators read too."""

from typing import Any

import pytest
from attrs import evolve
from cdk8s import App

from app.compiler import render
from app.inspection.budget import budget
from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from kit.options import OptionError
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.rules.mutation import named
from tests.manifests.rules.objects import Objects, of_kind, workloads

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
WANTED = """
    node_selector: {disk: fast}
    affinity: {topology.kubernetes.io/zone: [a, b]}
    tolerations: [{key: matrix, effect: NoSchedule}, {key: tier, value: data}]
    priority_class: company-critical
    annotations: {example.com/team: chat}
    env: {TZ: Europe/Berlin}
"""
TOLERATIONS = [{"key": "matrix", "operator": "Exists", "effect": "NoSchedule"}, {"key": "tier", "operator": "Equal", "value": "data"}]
ZONES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}]}]}


def objects(site: str) -> list[dict[str, Any]]:
    return [dict(o) for o in expected(render(parse_site(f"{BASE}{site}\n"), profiles()[0])).values()]


def sorted_keys(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(sorted(item.items())) for item in items]


def problems(found: Objects) -> list[str]:
    """What is not as wanted of all workloads."""
    wrong = []
    for workload in workloads(found):
        pod = workload.pod
        said = {
            "node selector": pod.get("nodeSelector", {}).get("disk") == "fast",
            "affinity": pod.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution") == ZONES,
            "tolerations": sorted_keys(pod.get("tolerations", []))[-2:] == sorted_keys(TOLERATIONS),
            "priority": pod.get("priorityClassName") == "company-critical",
            "environment": {"name": "TZ", "value": "Europe/Berlin"} in pod["containers"][0].get("env", []),
        }
        wrong += [f"{workload.name}: {what}" for what, right in said.items() if not right]
    return wrong


def test_every_workload_runs_where_the_site_wants_it(full_site: Site) -> None:
    placed = parse_site(f"{BASE}placement:\n  synapse:{WANTED}").placement[0][1]
    names = assemble(App(), full_site, profiles()[0]).declared.workloads
    site = evolve(full_site, placement=tuple((name, placed) for name in sorted(names)))
    found = [dict(o) for o in expected(render(site, profiles()[0])).values()]
    assert {"synapse", "synchrotron", "haproxy", "redis", "redis-proxy", "coturn", "livekit", "element-web", "clamav"} <= names
    assert {workload.name for workload in workloads(found)} - names - {w.name for w in workloads(found) if w.kind == "Job"} == set()
    assert problems(found) == []


def test_a_component_can_be_placed_whole_and_one_workload_of_it_elsewhere() -> None:
    found = objects("placement: {synapse: {node_selector: {disk: fast}}, synchrotron: {node_selector: {disk: faster}}}")
    disks = {w.name: w.pod.get("nodeSelector", {}).get("disk") for w in workloads(found)}
    assert (disks["synapse"], disks["receipts"], disks["synchrotron"], disks["haproxy"]) == ("fast", "fast", "faster", None)


def test_what_operators_make_is_placed_too() -> None:
    found = objects(f"placement:\n  postgresql-main:{WANTED}  minio-main:{WANTED}")
    cluster, tenant = named(found, "Cluster/postgresql-main")["spec"], named(found, "Tenant/minio-main")["spec"]
    pool = tenant["pools"][0]
    for where in (cluster["affinity"], pool):
        assert where["nodeSelector"] == {"disk": "fast"}
        assert sorted_keys(where["tolerations"]) == sorted_keys(TOLERATIONS)
    assert cluster["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == ZONES
    assert pool["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == ZONES
    assert (cluster["priorityClassName"], tenant["priorityClassName"]) == ("company-critical", "company-critical")
    assert cluster["inheritedMetadata"]["annotations"] == pool["annotations"] == {"example.com/team": "chat"}
    assert {"name": "TZ", "value": "Europe/Berlin"} in cluster["env"]
    assert {"name": "TZ", "value": "Europe/Berlin"} in tenant["env"]


def test_what_a_site_gives_more_of_is_in_the_budget_and_in_the_quota() -> None:
    before, after = objects(""), objects("placement: {haproxy: {resources: {cpu: 2000m, memory: 1Gi}}}")
    assert budget(after).total.cpu.millicores - budget(before).total.cpu.millicores == 2 * (2000 - 50)
    quotas = [next(o for o in of_kind(found, "ResourceQuota") if o["metadata"]["namespace"] == "matrix") for found in (before, after)]
    assert quotas[0]["spec"]["hard"] != quotas[1]["spec"]["hard"]


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("{synchrotorn: {priority_class: a}}", r'placement\["synchrotorn"\]: .*; did you mean "synchrotron"\?'),
        ("{redis: {resources: {memory: 1Gi}}}", r'placement\["redis"\]\.resources: its settings follow from its memory'),
        ("{postgresql-main: {resources: {cpu: 500m}}}", r'placement\["postgresql-main"\]\.resources: its settings follow'),
        ("{synapse: {env: {POD_NAME: a}}}", r'placement\["synapse"\]\.env: the platform sets POD_NAME'),
        ("{haproxy: {resources: {memory_limit: 16Mi}}}", r'placement\["haproxy"\]\.resources: memory limit 16Mi is below'),
    ],
)
def test_what_cannot_be_is_refused(choice: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        objects(f"placement: {choice}")
