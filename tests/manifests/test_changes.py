"""What the commands say of a change is what applying the rendered trees does: nothing is left out, nothing is made up."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
from cdk8s import App

from app.commands.notices import people
from app.inspection.changes import Change, Effect, changes
from app.inspection.steps import left, refused, steps
from app.objects import objects
from app.platform import assemble
from app.site import Site
from kit.component import Component
from kit.rendering import Rendering
from overlays import profiles
from tests.manifests.rules.objects import Object, Objects, assert_kept, namespace_of, of_kind, workloads

NAMES = [profile.name for profile in profiles()]
RUN_PODS = {"StatefulSet", "Deployment", "DaemonSet"}


@pytest.mark.parametrize(("source", "target"), [*pairwise(NAMES), (NAMES[-1], NAMES[0])])
def test_a_plan_is_the_difference_of_the_trees_that_kubectl_builds(
    source: str, target: str, built: dict[str, Objects], renderings: dict[str, Rendering]
) -> None:
    planned = changes(objects(renderings[source]), objects(renderings[target]))
    applied = changes(built[source], built[target])

    def told(found: Iterable[Change]) -> list[object]:
        # The digests in the names of ConfigMaps are Kustomize's own in one of the two.
        return [(c.identity, c.action, c.effect, c.wave, c.refused, [f.path for f in c.fields]) for c in found]

    assert told(planned) == told(applied)
    ordered = steps(planned, {"synapse": "synapse-shards"})
    placed = [c.identity for step in ordered for group in step.groups for c in group.changes]
    placed += [c.identity for c in (*refused(planned), *left(planned))]
    assert sorted(placed) == sorted(c.identity for c in planned)
    assert len(placed) > 20


def test_pods_are_replaced_where_the_template_that_kubectl_builds_differs_and_nowhere_else(built: dict[str, Objects]) -> None:
    for source, target in pairwise(NAMES):
        templates = [
            {(o["kind"], o["metadata"]["name"]): o["spec"]["template"] for o in built[n] if o["kind"] in RUN_PODS} for n in (source, target)
        ]
        differ = {key for key in templates[0].keys() & templates[1].keys() if templates[0][key] != templates[1][key]}
        said = {
            (c.identity.kind, c.identity.name)
            for c in changes(built[source], built[target])
            if c.identity.kind in RUN_PODS and (c.effect is Effect.RESTARTS or (c.refused and any("template." in f.path for f in c.fields)))
        }
        assert said == differ


def test_a_component_with_pods_says_what_people_notice_when_they_are_replaced(full_site: Site, other_site: Site) -> None:
    for site in (full_site, other_site):
        installation = assemble(App(), site, profiles()[0])
        running = {
            manifest["metadata"]["labels"]["app.kubernetes.io/name"]
            for manifest in installation.rendering().manifests()
            if manifest["kind"] in {*RUN_PODS, "Cluster", "Tenant"}
        }
        silent = {
            node.name for node in installation.node.find_all() if isinstance(node, Component) and node.name in running and not node.noticed
        }
        assert silent == set()


def test_the_config_map_that_stops_all_of_synapse_is_one_that_it_has(site: Site, renderings: dict[str, Rendering]) -> None:
    stopped_by = people(site, profiles()[0]).stopped_by
    assert stopped_by == {"synapse": "synapse-shards"}
    generated = {name for _, name in renderings[NAMES[0]].config_maps}
    assert set(stopped_by.values()) <= generated


def test_another_list_of_writers_is_a_step_in_which_all_of_synapse_stops(renderings: dict[str, Rendering], site: Site) -> None:
    known = people(site, profiles()[1])
    ordered = steps(changes(objects(renderings["100-ccu"]), objects(renderings["1000-ccu"])), known.stopped_by)
    (group,) = [group for step in ordered for group in step.groups if group.component == "synapse" and Effect.RESTARTS in group.effects]
    assert group.together
    assert "all of Synapse stops" in (known.notice(group) or "")


def too_late(objects: Objects) -> list[str]:
    """What pods need and a later step makes: they would never be ready, and that step would never come."""
    step = {(o["kind"], namespace_of(o), o["metadata"]["name"]): _wave(o) for o in objects}
    found = []
    for workload in workloads(objects):
        own = step[workload.kind, workload.namespace, workload.name]
        for kind, name in _needed(workload.pod):
            if step.get((kind, workload.namespace, name), 0) > own:
                found.append(f"{workload} of step {own} needs {kind} {name}")
    return found


def test_nothing_is_waited_for_that_comes_in_a_later_step(trees: dict[str, Objects]) -> None:
    assert_kept(too_late, trees)


def test_a_pod_that_waits_for_a_later_step_is_noticed(everything: Objects) -> None:
    objects = deepcopy(everything)
    next(o for o in of_kind(objects, "PersistentVolumeClaim"))["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = "6"
    assert too_late(objects)


def test_every_object_has_its_step_in_the_order_of_a_first_installation(everything: Objects) -> None:
    assert {_wave(o) for o in everything} == {1, 2, 3, 4, 5, 6}
    first = {o["kind"] for o in everything if _wave(o) == 1}
    assert {"Namespace", "NetworkPolicy", "Role", "ServiceAccount", "ConfigMap"} <= first
    assert not first & {*RUN_PODS, "Job", "CronJob", "Cluster", "Tenant", "PersistentVolumeClaim", "Certificate"}
    order = {o["metadata"]["name"]: _wave(o) for o in everything if o["kind"] in {*RUN_PODS, "Cluster", "Tenant"}}
    names = ("postgresql-main", "synapse", "synapse-li", "clamav", "prometheus")
    assert [order[name] for name in names] == [2, 3, 4, 5, 6]


def _wave(o: Object) -> int:
    """As Argo CD reads it: where there is none, the first."""
    return max(1, int(o["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0")))


def _needed(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a pod cannot start without, by kind and name."""
    yield "ServiceAccount", pod.get("serviceAccountName", "")
    for volume in pod.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", [volume]):
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
            if "persistentVolumeClaim" in source:
                yield "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"]
            if secret := source.get("secret"):
                for kind in ("ExternalSecret", "Certificate"):
                    yield kind, secret.get("secretName") or secret["name"]
