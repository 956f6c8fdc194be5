"""A real API server accepts what is rendered: every size, one over the other, without a warning; and the pods of it are admitted.

Field validation, defaulting, immutable fields, Pod Security, quotas and rights are Kubernetes' own here. Custom resources are accepted as
they are: their definitions belong to the operators, and tests/manifests checks against those.
"""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.compiler import compile_site, render
from app.settings import parse_site, read_site
from overlays import profiles
from tests.definitions import definition
from tests.kustomize import ROOT, build, expected, write
from tests.live.answering import NODES, answering
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.processes import LOOPBACK, wait_for
from tests.live.synapse_site import synapse_python
from tests.manifests.conftest import OTHER_SITE
from tests.manifests.rules.added import differences
from tests.manifests.test_sites import BASE as SITE
from tests.manifests.test_sites import SITES

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(900)]

NAMES = [profile.name for profile in profiles()]
BUILT_IN = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"}
BUILT_IN |= {"scheduling.k8s.io/v1"}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node", "labels": {"kubernetes.io/hostname": "node", "matrix-platform/coturn": "true"}},
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(read_site(ROOT / "tests" / "site.yaml"), profiles()))
    return folder


@pytest.fixture(scope="module")
def cluster(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows the kinds of the operators, with one node and nothing else in it."""
    folder = tmp_path_factory.mktemp("control-plane")
    with control_plane(folder) as plane, answering(plane, NODES):
        kinds = {(o["apiVersion"], o["kind"]) for name in NAMES for o in build(dist / "overlays" / name)}
        custom = [definition(*kind) for kind in sorted(kinds) if kind[0] not in BUILT_IN]
        plane.apply([*custom, NODE], folder)
        plane.wait_for_definitions()
        yield plane


def nothing_to_change(cluster: ControlPlane, overlay: Path) -> bool:
    """Whether applying an overlay again would change nothing."""
    return cluster.kubectl("diff", "--server-side", "--kustomize", overlay, codes=(0, 1)).lines == ()


def wanted(objects: list[dict[str, Any]]) -> dict[str, int]:
    """Workload to the pods that its controller makes at least: one that is autoscaled starts with one, and one that changes has more."""
    found = {
        f"{o['kind']}/{o['metadata']['name']}": o["spec"].get("replicas", 1) for o in objects if o["kind"] in {"StatefulSet", "Deployment"}
    }
    return found | {f"{o['kind']}/{o['metadata']['name']}": 1 for o in objects if o["kind"] in {"Job", "DaemonSet"}}


def test_every_pod_is_admitted_under_pod_security_quotas_and_limits(cluster: ControlPlane, dist: Path) -> None:
    for name in NAMES:
        overlay = dist / "overlays" / name
        cluster.kubectl("apply", "--server-side", "--kustomize", overlay)
        wait_for_pods(cluster, wanted(build(overlay)), name)
        refused = [event["message"] for event in cluster.objects("events") if event["reason"] == "FailedCreate"]
        assert refused == []


def wait_for_pods(cluster: ControlPlane, expected: dict[str, int], name: str) -> None:
    try:
        wait_for(lambda: not missing(cluster, expected), 90, name)
    except TimeoutError:
        events = [event["message"] for event in cluster.objects("events") if event["type"] == "Warning"]
        pytest.fail(f"{name}: not there: {missing(cluster, expected)}; {[e for e in events if 'metric' not in e]}")


def missing(cluster: ControlPlane, expected: dict[str, int]) -> list[str]:
    """Workloads that have fewer pods than they must have."""
    there = pods(cluster)
    return sorted(
        f"{workload}: {there.get(workload, 0)} of {count}" for workload, count in expected.items() if there.get(workload, 0) < count
    )


def pods(cluster: ControlPlane) -> dict[str, int]:
    """Workload to the number of its pods."""
    counts: dict[str, int] = {}
    owners = {o["metadata"]["name"]: o["metadata"]["ownerReferences"][0]["name"] for o in cluster.objects("replicasets")}
    for pod in cluster.objects("pods"):
        owner = pod["metadata"]["ownerReferences"][0]
        workload = f"Deployment/{owners[owner['name']]}" if owner["kind"] == "ReplicaSet" else f"{owner['kind']}/{owner['name']}"
        counts[workload] = counts.get(workload, 0) + 1
    return counts


def test_a_pod_that_is_not_hardened_is_refused(cluster: ControlPlane, tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": "matrix"},
        "spec": {
            "containers": [{"name": "intruder", "image": "example.org/image:1", "resources": {"limits": {"cpu": "1m", "memory": "1Mi"}}}]
        },
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted:latest"'):
        cluster.kubectl("apply", "--server-side", "--filename", tmp_path / "pod.json")


def test_every_size_is_applied_over_the_one_before_it_without_a_warning_and_to_the_end(cluster: ControlPlane, dist: Path) -> None:
    for name in [*NAMES, *reversed(NAMES[:-1])]:
        overlay = dist / "overlays" / name
        applied = cluster.kubectl("apply", "--server-side", "--kustomize", overlay)
        assert applied.warnings == (), name
        # A controller may write an object's status between the two looks of one diff.
        wait_for(lambda: nothing_to_change(cluster, overlay), 60, f"{name}: a GitOps tool would apply it for ever")  # noqa: B023


def test_the_api_server_adds_nothing_to_a_list_that_is_compared_whole_whatever_the_site(cluster: ControlPlane, tmp_path: Path) -> None:
    """Every choice of a site in the smallest size, each object once: what would be different for ever for a tool that compares by itself."""
    rendered = {
        json.dumps(o, sort_keys=True): o
        for text in (*(SITE + choice for choice in SITES.values()), OTHER_SITE)
        for o in expected(render(parse_site(text), profiles()[0])).values()
        if o["apiVersion"] in BUILT_IN
    }
    objects = [json.loads(text) for text in rendered]
    spaces = sorted({o["metadata"]["namespace"] for o in objects if "namespace" in o["metadata"]})
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces], tmp_path)
    # Those that are there read ConfigMaps by the names that Kustomize gives, and a Job cannot be changed.
    cluster.kubectl("delete", "jobs", "--all", "--all-namespaces", "--wait")
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    dry = ("--dry-run=server", "--force-conflicts", "--output", "json")
    there = json.loads("\n".join(cluster.kubectl("apply", "--server-side", *dry, "--filename", file, seconds=300).lines))["items"]
    assert [line for mine, theirs in zip(objects, there, strict=True) for line in differences(mine, theirs)] == []


def authority_pem() -> str:
    """The public key of an authority."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


NOT_MADE = {
    # What an operator keeps, and what only people have.
    "postgresql-main-app": {
        "username": "synapse",
        "password": "secret-of-the-operator",
        "pgpass": "postgresql-main-rw:5432:synapse:synapse:x\n",
    },
    "push-credentials": {"fcm-example-app.json": "{}"},
    "key-vault-authority": {"authority.pem": authority_pem()},
}


def run_generator(cluster: ControlPlane, objects: list[dict[str, Any]], folder: Path) -> subprocess.CompletedProcess[str]:
    """The program of the rendered Job, with its files, as its service account."""
    (job,) = (o for o in objects if o["kind"] == "Job" and o["metadata"]["name"].startswith("secret-generator"))
    spec = job["spec"]["template"]["spec"]
    maps = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume.get("configMap", {}).get("name") for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        for file, text in maps.get(volumes[mount["name"]] or "", {}).items():
            path = folder / mount["mountPath"].lstrip("/") / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    account = folder / "account"
    account.mkdir(exist_ok=True)
    namespace, name = job["metadata"]["namespace"], spec["serviceAccountName"]
    (account / "token").write_text(cluster.kubectl("create", "token", name, "--namespace", namespace).lines[0])
    (account / "ca.crt").write_bytes((cluster.certificates / "apiserver.crt").read_bytes())
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    environment["PYTHONPATH"] = f"{folder}{environment['PYTHONPATH']}"
    where = {"KUBERNETES_SERVICE_HOST": LOOPBACK, "KUBERNETES_SERVICE_PORT": str(cluster.port), "PATH": os.environ["PATH"]}
    words = [word if not word.startswith("/") else f"{folder}{word}" for word in container["command"][1:]]
    return subprocess.run(
        [synapse_python(), *words, "--account", str(account), "--time-limit", "60"],
        env=environment | where,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd="/",
    )


def test_the_generator_makes_every_secret_with_the_rights_that_it_is_given_and_a_second_run_changes_nothing(
    cluster: ControlPlane, dist: Path, tmp_path: Path
) -> None:
    overlay = dist / "overlays" / NAMES[0]
    objects = build(overlay)
    cluster.kubectl("apply", "--server-side", "--kustomize", overlay)
    for name, content in NOT_MADE.items():
        cluster.apply(
            [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "matrix"}, "stringData": content}], tmp_path
        )
    first = run_generator(cluster, objects, tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    made = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in cluster.objects("secrets", "matrix")}
    mounted = {
        volume["secret"]["secretName"]
        for o in objects
        if o["kind"] in {"StatefulSet", "Deployment", "Job"} and o["metadata"]["namespace"] == "matrix"
        for volume in o["spec"]["template"]["spec"].get("volumes", ())
        if "secret" in volume
    }
    of_operators = {name for name in mounted if name.startswith("postgresql-main-") and name.endswith(("-ca", "-app"))}
    assert mounted - of_operators <= made.keys()
    second = run_generator(cluster, objects, tmp_path)
    assert second.returncode == 0
    assert {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in cluster.objects("secrets", "matrix")} == made
    printed = first.stdout + first.stderr + second.stdout + second.stderr
    values = [base64.b64decode(value).decode() for o in cluster.objects("secrets", "matrix") for value in o["data"].values()]
    # The short ones are names of users.
    secret = [value for value in values if len(value) > 20]
    assert len(secret) > 10
    assert [value for value in secret if value in printed] == []
    account = "system:serviceaccount:matrix:secret-generator"
    for verb, what in (("list", "secrets"), ("delete", "secrets"), ("get", "pods"), ("get", "secrets/minio-operator")):
        answer = cluster.kubectl("auth", "can-i", verb, what, "--as", account, "--namespace", "matrix", codes=(0, 1))
        assert answer.lines == ("no",), f"it may {verb} {what}"
