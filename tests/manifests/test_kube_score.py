"""kube-score, which others wrote, finds nothing in what is rendered but what is left out here for a reason, and where the reason holds."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen

from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules.objects import POD_NAME, Object, Objects, Workload, workloads
from tests.manifests.rules.schemas import VERSION

KUBE_SCORE = ROOT / ".tools" / "kube-score" / "kube-score"
# Profiles differ in numbers alone: the largest one, and the two sites that have between them what any site can have.
TREES = (profiles()[-1].name, "full site", "other site")
SOUND = 10
"""The grade of an object in which a check finds nothing."""

pytestmark = pytest.mark.skipif(not os.access(KUBE_SCORE, os.X_OK), reason="needs kube-score: make kube-score")


def always(_: Object) -> bool:
    return True


def of_pods(holds: Callable[[Workload], bool]) -> Callable[[Object], bool]:
    """A condition on the pods of a workload."""
    return lambda o: all(map(holds, workloads([o])))


def of_containers(holds: Callable[[Mapping[str, Any]], bool]) -> Callable[[Object], bool]:
    return of_pods(lambda workload: all(map(holds, workload.containers)))


def spread(workload: Workload) -> bool:
    """Over nodes, and of those that are not many alike, so that no two are on one."""
    over_nodes = [t for t in workload.pod["topologySpreadConstraints"] if t["topologyKey"] == "kubernetes.io/hostname"]
    return any(t["whenUnsatisfiable"] == "DoNotSchedule" or workload.kind == "StatefulSet" for t in over_nodes)


def writes_little(workload: Workload) -> bool:
    """To no file of an image, and to no more in its own folders than they may have."""
    folders = [volume["emptyDir"] for volume in workload.pod.get("volumes", []) if "emptyDir" in volume]
    read_only = [container["securityContext"].get("readOnlyRootFilesystem") for container in workload.containers]
    return all(read_only) and all("sizeLimit" in folder for folder in folders)


@frozen
class LeftOut:
    """A check that finds what is meant to be so. `where` and `names`: in which objects alone; in another one it is a finding."""

    reason: str
    where: Callable[[Object], bool] = always
    names: tuple[str, ...] = ()

    def holds(self, o: Object) -> bool:
        return self.where(o) and (not self.names or o["metadata"]["name"] in self.names)


_SINGLETONS = ("grafana", "li-sync", "li-sync-broker", "signature-mirror", "synapse-admin", "synapse-admin-li", "synapse-li", "valkey-li")
_NOT_EQUAL = LeftOut("What a pod requests is what it takes by itself; there is no limit of processor time, and memory has room for peaks.")
_SPREAD = LeftOut("Pods are spread over nodes by topologySpreadConstraints, which it does not know.", of_pods(spread))

LEFT_OUT: Mapping[str, LeftOut] = {
    "container-cpu-requests-equal-limits": _NOT_EQUAL,
    "container-memory-requests-equal-limits": _NOT_EQUAL,
    "container-resource-requests-equal-limits": _NOT_EQUAL,
    "container-resources": LeftOut(
        "No limit of processor time: a single-threaded process that is throttled answers late, and protects nobody. All else is said.",
        of_containers(lambda c: {"memory"} <= c["resources"]["limits"].keys() and {"cpu", "memory"} <= c["resources"]["requests"].keys()),
    ),
    "container-ephemeral-storage-request-and-limit": LeftOut(
        "No pod can fill the disk of its node: no file of its image can be written, its folders have limits, and kubelet cuts its output.",
        of_pods(writes_little),
    ),
    "container-image-pull-policy": LeftOut(
        "Images are pulled if they are not there: their tags do not move, and a node can start them while the registry is away.",
        of_containers(lambda c: c["image"].rpartition(":")[2] != "latest"),
    ),
    "container-security-context-user-group-id": LeftOut(
        "Users are those that own the files in each image, never root. No pod sees a file of its node, where another has this number.",
        of_pods(lambda workload: bool(workload.pod["securityContext"]["runAsNonRoot"])),
    ),
    "deployment-has-host-podantiaffinity": _SPREAD,
    "statefulset-has-host-podantiaffinity": _SPREAD,
    "deployment-replicas": LeftOut("There can be one alone, or nobody waits for it.", names=_SINGLETONS),
    "deployment-strategy": LeftOut(
        "The old one goes before the new one comes: two would write to one volume, or do everything twice.",
        names=("li-sync", "li-sync-broker", "signature-mirror", "synapse-li", "valkey-li"),
    ),
    "horizontalpodautoscaler-replicas": LeftOut(
        "In the smallest size one worker of a type is enough while nothing happens.", lambda o: o["spec"]["maxReplicas"] > 1
    ),
    "networkpolicy-targets-pod": LeftOut(
        "Their pods are made by operators and by cert-manager, or there are none yet in a namespace that stays closed.",
        names=("acme-solver", "default-deny", "minio-li", "minio-main", "postgresql-access", "postgresql-li"),
    ),
    "pod-probes-identical": LeftOut("Programs that have one question to ask, and whose answer does not depend on others that may be away."),
    "service-targets-pod": LeftOut(
        "It does not know the label that Kubernetes gives each pod of a StatefulSet.", lambda o: POD_NAME in o["spec"]["selector"]
    ),
}


def findings(objects: Objects, folder: Path) -> Iterator[tuple[str, Object]]:
    """The checks that find something, each with the object."""
    file = folder / "objects.yaml"
    file.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    command = [str(KUBE_SCORE), "score", "--all-default-optional", "--kubernetes-version", f"v{VERSION.rpartition('.')[0]}"]
    run = subprocess.run([*command, "--output-format", "json", str(file)], capture_output=True, text=True, check=False, timeout=240)
    # 1: something was found.
    assert run.returncode in (0, 1), run.stderr
    by_name = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
    for scored in json.loads(run.stdout):
        o = by_name[scored["type_meta"]["kind"], scored["object_meta"].get("namespace", ""), scored["object_meta"]["name"]]
        yield from ((c["check"]["id"], o) for c in scored["checks"] if not c["skipped"] and c["grade"] < SOUND)


def is_left_out(check: str, o: Object) -> bool:
    return check in LEFT_OUT and LEFT_OUT[check].holds(o)


@pytest.fixture(scope="module")
def found(trees: dict[str, Objects], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Object]]:
    folder = tmp_path_factory.mktemp("kube-score")
    return [finding for name in TREES for finding in findings(trees[name], folder)]


def test_kube_score_finds_only_what_is_left_out_for_a_reason(found: list[tuple[str, Object]]) -> None:
    others = [f"{o['kind']} {o['metadata']['name']}: {check}" for check, o in found if not is_left_out(check, o)]
    assert others == []


def test_no_check_is_left_out_that_finds_nothing(found: list[tuple[str, Object]]) -> None:
    assert {check for check, _ in found} == LEFT_OUT.keys()
    names = {(check, o["metadata"]["name"]) for check, o in found}
    assert [(check, name) for check, left_out in LEFT_OUT.items() for name in left_out.names if (check, name) not in names] == []


def test_kube_score_notices_what_is_wrong_and_a_reason_that_does_not_hold(everything: Objects, tmp_path: Path) -> None:
    proxy = next(o for o in everything if (o["kind"], o["metadata"]["name"]) == ("Deployment", "haproxy"))
    spec = proxy["spec"]["template"]["spec"]
    container = {**spec["containers"][0], "securityContext": {"privileged": True}, "image": "haproxy:latest"}
    broken = {**spec, "containers": [container], "topologySpreadConstraints": [], "securityContext": {"runAsNonRoot": False}}
    template = {**proxy["spec"]["template"], "spec": broken}
    noticed = {c for c, o in findings([{**proxy, "spec": {**proxy["spec"], "template": template}}], tmp_path) if not is_left_out(c, o)}
    wanted = {"container-security-context-privileged", "container-image-tag", "deployment-has-host-podantiaffinity"}
    assert wanted | {"container-ephemeral-storage-request-and-limit", "container-image-pull-policy"} <= noticed
