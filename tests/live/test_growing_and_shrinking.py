"""A site that grows and shrinks on a real API server, as `plan` says, until every pod has been replaced.

Kubernetes' own admission, quotas and controllers are asked. What stands in: operators by StatefulSets with pods like theirs and by policies that
refuse what their webhooks refuse, kubelets by somebody who says that pods are ready, and disks by volumes that nobody reads.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from app.compiler import compile_site, render
from app.inspection.changes import changes
from app.inspection.steps import kept_by, refused, unclaimed
from app.objects import objects
from app.settings import parse_site
from kit.text import yaml_text
from overlays import Profile, profiles
from tests.definitions import definition
from tests.kustomize import build, write
from tests.live.answering import PODS, answering
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.processes import wait_for
from tests.live.test_control_plane import BUILT_IN, NODE
from tests.live.test_quotas import operated
from tests.manifests.rules.objects import Object, Objects, of_kind
from tests.manifests.test_sites import BASE, LI

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(3600)]

SIZES = {profile.name: profile for profile in profiles()}
CHOICES = BASE + LI.replace("li: true", "li: true, monitoring: true", 1)
READY_SECONDS = 240.0
FOR_EVER_SECONDS = 90.0
"""Three times as long as a step takes."""
CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "example.com/nobody",
    "allowVolumeExpansion": True,
}


def walk() -> list[str]:
    """The shortest life of a site in which each size follows each other one once: 20 steps."""
    left = {name: [other for other in SIZES if other != name] for name in SIZES}
    stack, found = [next(iter(SIZES))], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop(0))
        else:
            found.append(stack.pop())
    return found[::-1]


def volume(claim: str, namespace: str) -> Object:
    """A disk that is there for one claim."""
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "claimRef": {"namespace": namespace, "name": claim},
        "hostPath": {"path": f"/{claim}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim}, "spec": spec}


def webhook(name: str, group: str, resource: str, rules: Mapping[str, str]) -> Objects:
    """A policy that refuses what an operator refuses. `rules`: what must hold to what is said otherwise."""
    match = {"resourceRules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource]}]}
    validations = [{"expression": expression, "message": message} for expression, message in rules.items()]
    kind, version = "ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1"
    return [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": match, "validations": validations},
        },
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]


def not_smaller(path: str) -> str:
    return f"quantity(object.{path}).compareTo(quantity(oldObject.{path})) >= 0"


# cloudnative-pg, internal/webhook/v1/cluster_webhook.go; minio/operator, pkg/controller/main-controller.go and pvc.go.
_POOLS = "oldObject.spec.pools.all(was, object.spec.pools.exists(will, will.name == was.name && {}))"
_DRIVE = "volumeClaimTemplate.spec.resources.requests.storage"
WEBHOOKS = [
    *webhook(
        "cnpg",
        "postgresql.cnpg.io",
        "clusters",
        {not_smaller(f"spec.{key}.size"): f"can't shrink existing {key}" for key in ("storage", "walStorage")},
    ),
    *webhook(
        "minio",
        "minio.min.io",
        "tenants",
        {
            _POOLS.format("will.servers == was.servers && will.volumesPerServer == was.volumesPerServer"): "can't modify server count",
            _POOLS.format(f"quantity(string(will.{_DRIVE})).compareTo(quantity(string(was.{_DRIVE}))) >= 0"): "can't shrink drives",
        },
    ),
]


@frozen
class Installed:
    """A site on a cluster. `written`: what plans have said to write into site.yaml."""

    cluster: ControlPlane
    folder: Path
    written: dict[str, Any]

    def apply(self, choices: str, profile: Profile) -> Objects:
        """Apply its overlay, and what operators make of it."""
        files = compile_site(parse_site(choices), [profile])
        write(self.folder, files)
        tree = build(self.folder / "base")
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", self.folder / "base", seconds=300)
        made = [{**o, "spec": {**o["spec"], "volumeClaimTemplates": []}} for o in operated(tree)]
        self.cluster.apply(made, self.folder)
        return [*tree, *made]

    def settled(self, tree: Objects) -> bool:
        """Whether every pod is one of the tree's, and none is missing. One that is refused while a quota still counts its predecessor comes later."""
        wanted = {(o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]) for o in of_kind(tree, "StatefulSet", "Deployment")}
        there = [o for o in self.cluster.objects("statefulsets,deployments") if _key(o) in wanted]
        return len(there) == len(wanted) and all(map(_replaced, there))


def _key(o: Object) -> tuple[str, str, str]:
    return o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]


def _replaced(o: Object) -> bool:
    status, replicas = o.get("status", {}), o["spec"]["replicas"]
    current = status.get("observedGeneration") == o["metadata"]["generation"]
    ready = [status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas")]
    revision = status.get("currentRevision") == status.get("updateRevision")
    return current and revision and ready == [replicas] * 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("control-plane")
    site = parse_site(CHOICES)
    with control_plane(folder) as plane, answering(plane, PODS):
        kinds = {(o["apiVersion"], o["kind"]) for o in objects(render(site, profiles()[0]))}
        custom = [definition(*kind) for kind in sorted(kinds) if kind[0] not in BUILT_IN]
        plane.apply([*custom, NODE, CLASS, volume("prometheus-data", "matrix-monitoring"), *WEBHOOKS], folder)
        plane.wait_for_definitions()
        yield Installed(plane, tmp_path_factory.mktemp("dist"), {})


def planned(written: dict[str, Any], source: str, target: str) -> bool:
    """Write what the plan says. Whether it says that the larger size is left."""
    old, new = (objects(render(parse_site(_text(written)), SIZES[name])) for name in (source, target))
    found = changes(old, new)
    _merge(written, kept_by(found))
    return any(change.identity.kind == "ResourceQuota" for change in refused(found))


def test_a_site_goes_from_each_size_to_each_other_one_as_the_plan_says_and_every_pod_is_replaced(installed: Installed) -> None:
    written = installed.written
    steps = walk()
    assert len(steps) == 21
    before: Objects = []
    for source, target in zip(["", *steps], steps, strict=False):
        if source:
            shrinks = planned(written, source, target)
            assert shrinks == (SIZES[target].concurrent_users < SIZES[source].concurrent_users)
            if shrinks:
                written["shrinking_from"] = source
        tree = installed.apply(_text(written), SIZES[target])
        wait_for(lambda: installed.settled(tree), READY_SECONDS, f"{source} to {target}")  # noqa: B023
        if written.pop("shrinking_from", None):
            for namespace, name in unclaimed(before, tree):
                installed.cluster.kubectl("delete", "--namespace", namespace, "--wait=false", f"persistentvolumeclaim/{name}")
            tree = installed.apply(_text(written), SIZES[target])
            wait_for(lambda: installed.settled(tree), READY_SECONDS, f"{target} with its own quotas")  # noqa: B023
            for quota in installed.cluster.objects("resourcequotas"):
                assert quota["spec"]["hard"] == _quota(tree, quota["metadata"]["namespace"])
        before = tree


def test_without_the_line_that_the_plan_asks_for_pods_are_deleted_and_refused(installed: Installed) -> None:
    written = installed.written
    planned(written, "100-ccu", "5000-ccu")
    tree = installed.apply(_text(written), SIZES["5000-ccu"])
    wait_for(lambda: installed.settled(tree), READY_SECONDS, "the larger size")
    assert planned(written, "5000-ccu", "100-ccu")
    tree = installed.apply(_text(written), SIZES["100-ccu"])
    with pytest.raises(TimeoutError):
        wait_for(lambda: installed.settled(tree), FOR_EVER_SECONDS, "the smaller size")
    said = [event["message"] for event in installed.cluster.objects("events") if event["reason"] == "FailedCreate"]
    assert any("exceeded quota: platform" in message for message in said)


def _text(written: Mapping[str, Any]) -> str:
    return CHOICES + (yaml_text(dict(written)) if written else "")


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def _quota(tree: Objects, namespace: str) -> Any:
    (quota,) = (o for o in of_kind(tree, "ResourceQuota") if o["metadata"]["namespace"] == namespace)
    return quota["spec"]["hard"]
