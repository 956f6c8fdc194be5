"""The real Argo CD applies `dist/` to a real API server: in the order of the steps, to the end, and never deletes what holds data.

Its controllers, its server of repositories and the control plane are the real programs; pods become ready because a loop says so.
"""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import yaml

from app.compiler import compile_site
from app.settings import parse_site
from kit.waves import WAVE, WAVES
from overlays import profiles
from tests.definitions import definition
from tests.kustomize import build, write
from tests.live.argocd import ArgoCd, Repository, argocd, argocd_program, differing, everything_becomes_ready
from tests.live.control_plane import ControlPlane, control_plane, kubernetes_program
from tests.live.processes import wait_for
from tests.live.test_control_plane import BUILT_IN, NODE
from tests.manifests.test_gitops import SITE as GITOPS

pytestmark = [pytest.mark.optional, pytest.mark.timeout(1800)]
NAMES = [profile.name for profile in profiles()]
APPLICATION = "production-matrix"
UPSTREAM = "https://git.example.com/chat/matrix-platform.git"
SITE = GITOPS[: GITOPS.index("  clusters:")].replace("monitoring: {keda: {namespace: keda}}\n", "")


def site(profile: str, *, automatic: bool = False) -> str:
    return (
        SITE
        + f"  clusters:\n    production: {{profile: {profile}, automatic: {str(automatic).lower()}, prune: {str(automatic).lower()}}}\n"
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    found = Repository(tmp_path_factory.mktemp("repository"))
    found.git("init", "--quiet", "--initial-branch", "main")
    compiled(found, site("100-ccu"))
    return found


def compiled(repository: Repository, text: str) -> str:
    """The site's `dist/`, committed: the name of the commit."""
    shutil.rmtree(repository.folder / "dist", ignore_errors=True)
    files = compile_site(parse_site(text), profiles())
    write(repository.folder / "dist", {path: content.replace(UPSTREAM, repository.url) for path, content in files.items()})
    return repository.commit("compiled")


@pytest.fixture(scope="module")
def plane(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows the operators' kinds, with a node."""
    argocd_program(), kubernetes_program()
    folder = tmp_path_factory.mktemp("plane")
    with control_plane(folder) as found:
        kinds = {(o["apiVersion"], o["kind"]) for name in NAMES for o in build(repository.folder / "dist/overlays" / name)}
        custom = [definition(*kind) for kind in sorted(kinds) if kind[0] not in BUILT_IN]
        for crd in custom:
            crd["spec"]["versions"][0]["subresources"] = {"status": {}}
        found.apply([*custom, NODE], folder)
        for crd in custom:
            found.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{crd['metadata']['name']}")
        yield found


@pytest.fixture(scope="module")
def argo(plane: ControlPlane, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCd]:
    """Argo CD with `dist/argocd` applied as the guide says, and the platform synchronised once."""
    with argocd(plane, tmp_path_factory.mktemp("argocd")) as found, everything_becomes_ready(plane):
        apply(plane, repository)
        wait_for(lambda: found.application(APPLICATION), 60, "the Application that the ApplicationSet makes")
        yield found


def apply(plane: ControlPlane, repository: Repository) -> None:
    plane.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", repository.folder / "dist/argocd")


@pytest.fixture(scope="module")
def first(argo: ArgoCd) -> dict[str, Any]:
    return argo.sync(APPLICATION)


def healthy(argo: ArgoCd) -> dict[str, Any]:
    """The Application when all of it is as committed, and well."""

    def well() -> dict[str, Any] | None:
        found = argo.application(APPLICATION)
        status = found["status"]
        return found if (status["sync"]["status"], status["health"]["status"]) == ("Synced", "Healthy") else None

    try:
        found = wait_for(well, 240, "all of it to be synchronised and healthy")
    except TimeoutError:
        status = argo.application(APPLICATION)["status"]
        ill = [
            (o["kind"], o["name"], o["health"]) for o in status["resources"] if o.get("health", {}).get("status") not in (None, "Healthy")
        ]
        pytest.fail(f"{status['sync']['status']}, {status['health']}: {differing({'status': status})} {ill}")
    assert found
    return found


def test_the_application_is_what_the_site_says(argo: ArgoCd) -> None:
    spec = argo.application(APPLICATION)["spec"]
    assert (spec["project"], spec["source"]["path"]) == ("matrix-platform", "dist/overlays/100-ccu")
    # Nobody has pressed the button, and the site has not asked for it.
    assert "automated" not in spec["syncPolicy"]


def test_everything_is_applied_and_healthy(argo: ArgoCd, first: dict[str, Any], repository: Repository) -> None:
    state = first["status"]["operationState"]
    assert state["phase"] == "Succeeded", state["message"]
    there = {(o["kind"], o.get("namespace"), o["name"]) for o in healthy(argo)["status"]["resources"]}
    wanted = build(repository.folder / "dist/overlays/100-ccu")
    assert there == {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in wanted}
    assert len(wanted) > 150


@pytest.mark.usefixtures("first")
def test_the_steps_come_in_their_order(plane: ControlPlane, repository: Repository) -> None:
    times: dict[int, list[datetime]] = {}
    for o in build(repository.folder / "dist/overlays/100-ccu"):
        if o["kind"] == "Namespace":
            continue
        scope = ["--namespace", o["metadata"]["namespace"]] if "namespace" in o["metadata"] else []
        kind = f"{o['kind']}.{o['apiVersion'].rpartition('/')[0]}".rstrip(".").lower()
        made = plane.kubectl("get", *scope, kind, o["metadata"]["name"], "--output", "jsonpath={.metadata.creationTimestamp}").lines[0]
        step = int(o["metadata"].get("annotations", {}).get(WAVE, 1))
        times.setdefault(step, []).append(datetime.fromisoformat(made))
    assert set(times) == set(WAVES)
    for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False):
        assert max(times[earlier]) <= min(times[later]), f"step {later} began before step {earlier} had come"
    assert min(times[6]) > max(times[1])


@pytest.mark.usefixtures("first")
def test_nothing_drifts_by_itself_and_what_an_autoscaler_sets_is_no_drift(argo: ArgoCd, plane: ControlPlane) -> None:
    healthy(argo)
    time.sleep(45)
    assert differing(argo.refresh(APPLICATION)) == []
    plane.kubectl("--namespace", "matrix", "scale", "statefulset", "synchrotron", "--replicas=3")
    assert differing(argo.refresh(APPLICATION)) == []
    plane.kubectl("--namespace", "matrix", "label", "service", "haproxy", "by-hand=yes", "app.kubernetes.io/part-of=other", "--overwrite")
    assert differing(argo.refresh(APPLICATION)) == ["Service/haproxy: OutOfSync"]
    assert argo.sync(APPLICATION)["status"]["operationState"]["phase"] == "Succeeded"
    assert differing(healthy(argo)) == []


KEPT = {("Namespace", "matrix-li"), ("Cluster", "postgresql-main"), ("Tenant", "minio-main"), ("PersistentVolumeClaim", "prometheus-data")}


@pytest.mark.usefixtures("first")
def test_what_holds_data_is_not_deleted_even_by_a_prune(argo: ArgoCd, plane: ControlPlane, repository: Repository) -> None:
    overlay = repository.folder / "dist/overlays/100-ccu"
    objects = build(overlay)
    kept = {(o["kind"], o["metadata"]["name"]) for o in objects if "Prune=false" in json.dumps(o["metadata"].get("annotations", {}))}
    assert {("Namespace", "matrix-li"), ("Cluster", "postgresql-main"), ("Tenant", "minio-main")} <= kept
    gone = {*kept, ("PodDisruptionBudget", "haproxy")}
    rest = [o for o in objects if (o["kind"], o["metadata"]["name"]) not in gone]
    assert len(rest) == len(objects) - len(gone)
    shutil.rmtree(overlay)
    write(overlay, {"all.yaml": yaml.safe_dump_all(rest), "kustomization.yaml": "resources: [all.yaml]\n"})
    repository.commit("without what holds data")
    argo.refresh(APPLICATION)
    assert argo.sync(APPLICATION, prune=True)["status"]["operationState"]["phase"] == "Succeeded"
    budgets = {o["metadata"]["name"] for o in plane.objects("poddisruptionbudgets", "matrix")}
    assert "haproxy" not in budgets
    assert budgets
    for kind, name in sorted(kept):
        there = {o["metadata"]["name"] for o in plane.objects(kind.lower() if kind != "Cluster" else "clusters.postgresql.cnpg.io")}
        assert name in there, f"{kind}/{name} was deleted"
    compiled(repository, site("100-ccu"))
    argo.refresh(APPLICATION)
    assert argo.sync(APPLICATION)["status"]["operationState"]["phase"] == "Succeeded"
    healthy(argo)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.usefixtures("first")
def test_another_profile_is_applied_over_the_one_before(argo: ArgoCd, plane: ControlPlane, repository: Repository, name: str) -> None:
    compiled(repository, site(name))
    apply(plane, repository)
    wait_for(lambda: argo.application(APPLICATION)["spec"]["source"]["path"].endswith(f"/{name}"), 60, "the other path")
    argo.refresh(APPLICATION)
    state = argo.sync(APPLICATION)["status"]["operationState"]
    assert state["phase"] == "Succeeded", state["message"]
    assert differing(healthy(argo)) == []


@pytest.mark.usefixtures("first")
def test_with_automatic_a_commit_is_applied_and_what_was_changed_by_hand_is_put_back(
    argo: ArgoCd, plane: ControlPlane, repository: Repository
) -> None:
    last = NAMES[-1]
    compiled(repository, site(last, automatic=True))
    apply(plane, repository)
    wait_for(lambda: argo.application(APPLICATION)["spec"]["syncPolicy"].get("automated"), 60, "the policy")
    healthy(argo)
    plane.kubectl("--namespace", "matrix", "label", "service", "haproxy", "app.kubernetes.io/part-of=other", "--overwrite")

    def label() -> str:
        (service,) = [o for o in plane.objects("services", "matrix") if o["metadata"]["name"] == "haproxy"]
        return str(service["metadata"]["labels"]["app.kubernetes.io/part-of"])

    wait_for(lambda: label() != "other", 120, "what was changed by hand to be put back")
    revision = compiled(
        repository, site(last, automatic=True).replace("officers: {", "officers: {bert@example.com: Bert Bauer (auditor), ")
    )
    wait_for(
        lambda: argo.application(APPLICATION)["status"].get("operationState", {}).get("syncResult", {}).get("revision") == revision,
        240,
        "it",
    )
    assert healthy(argo)["status"]["sync"]["revision"] == revision
