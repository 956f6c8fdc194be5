"""The real Argo CD synchronises what `dist/` has, as the guides say: step after step, without drift, and nothing that holds data is taken away.

Kubernetes' own API server and controllers are asked, and Argo CD's. What stands in: `tests/live/answering.py` for nodes and operators, a folder for
the repository. The operators' charts cannot be fetched here: of their Applications it is shown that they are taken, and not what Helm makes of them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import field, frozen

from app.compiler import compile_site
from app.layout import Files
from app.settings import parse_site
from kit.waves import WAVE, WAVES
from overlays import profiles
from tests.definitions import definition
from tests.kustomize import ROOT, build
from tests.live.answering import EVERYTHING, answering
from tests.live.argocd import NAMESPACE, Followed, running_argocd
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.processes import wait_for
from tests.live.test_control_plane import BUILT_IN, NODE
from tests.live.test_growing_and_shrinking import CLASS, volume
from tests.manifests.rules.objects import Object, Objects, of_kind

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(900)]

SIZES = {profile.name: profile for profile in profiles()}
FIRST = next(iter(SIZES))
REPOSITORY = "https://git.example.com/chat/matrix-platform.git"
CHOICES = (
    "server_name: example.com\nimages: {registry: registry.example.com/matrix}\nfeatures: {li: true, monitoring: true, antivirus: true}\n"
    "li:\n  country_code: DE\n  owner: example-operator\n"
    "  officers: {anna@authority.example: Anna Adler (investigator), clara@authority.example: Clara Cohn (approver)}\n"
    f"gitops:\n  repository: {REPOSITORY}\n  clusters: {{production: {{profile: SIZE, automatic: true, prune: true}}}}\n"
)
NAME = "production-matrix"
GUIDE = (ROOT / "docs" / "01-DEPLOYMENT-GUIDE.md").read_text().partition("## Argo CD and Flux")[2].partition("\n## ")[0]
(COMMAND,) = re.findall(r"`kubectl (apply [^`]*) -k dist/argocd`", GUIDE)
KEPT = "Prune=false,Delete=false"
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
SYNC_SECONDS = 240.0

Key = tuple[str, str, str]
"""Kind, namespace and name of an object."""


def key(o: Object) -> Key:
    return o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]


def kept(objects: Objects) -> set[Key]:
    return {key(o) for o in objects if o["metadata"].get("annotations", {}).get(SYNC_OPTIONS) == KEPT}


def step(o: Object) -> int:
    return int(o["metadata"].get("annotations", {}).get(WAVE, min(WAVES)))


@frozen
class Site:
    """A site that an Argo CD keeps. `silent`: kinds of which nobody says that they are healthy. `there`: what is declared now."""

    argocd: Followed
    folder: Path
    silent: set[str]
    there: Objects = field(factory=list)

    @property
    def plane(self) -> ControlPlane:
        return self.argocd.plane

    @property
    def application(self) -> Object:
        return self.argocd.application(NAME)

    def choose(self, size: str, choices: str = CHOICES) -> str:
        """Commit `dist/` of a size, and apply what Argo CD is told as the guide says. Returns the revision."""
        revision = self.argocd.commit(compiled(size, choices))
        self.there[:] = build(self.argocd.repository / "dist" / "overlays" / size)
        file = self.folder / "argocd.yaml"
        # The charts of the operators are not to be had here.
        file.write_text(yaml.safe_dump_all(o for o in self.argocd.told() if o["kind"] != "Application"))
        self.plane.kubectl(*COMMAND.split(), "--filename", file)
        return revision

    def synchronised(self, revision: str, size: str, others: frozenset[Key] = frozenset()) -> bool:
        """Whether this revision of a size is applied, and healthy; and whether no object differs but `others`."""
        application = self.application
        status = application.get("status", {})
        operation = status.get("operationState", {})
        assert operation.get("phase") not in ("Failed", "Error"), operation
        compared = status.get("sync", {})
        of_size = compared.get("comparedTo", {}).get("source", {}).get("path") == f"dist/overlays/{size}"
        done = operation.get("phase") == "Succeeded" and operation["syncResult"]["revision"] == revision == compared.get("revision")
        differ = {_named(r) for r in status.get("resources", []) if r.get("status") != "Synced"}
        return of_size and done and differ == others and status.get("health", {}).get("status") == "Healthy"

    def wait_until_synchronised(self, revision: str, size: str, others: frozenset[Key] = frozenset()) -> None:
        """Wait for it."""
        wait_for(lambda: "status" in self.argocd.application(NAME), 60, "Argo CD has an Application")
        self.argocd.refresh(NAME)
        try:
            wait_for(lambda: self.synchronised(revision, size, others), SYNC_SECONDS, f"{size} is synchronised")
        except TimeoutError as error:
            status = self.application.get("status", {})
            differ = [r for r in status.get("resources", []) if r.get("status") != "Synced" or "health" in r]
            said = (status.get("conditions"), status.get("operationState", {}).get("message"), status.get("health"), differ[:40])
            error.add_note("\n".join(map(str, said)))
            raise

    def objects(self) -> dict[Key, Object]:
        """What stands on the cluster of the kinds that are declared."""
        kinds = ",".join(sorted({_resource(o) for o in self.there}))
        return {key(o): o for o in self.plane.objects(kinds)}

    def waits_for(self, what: str) -> None:
        """Wait until Argo CD says that it waits for an object to be healthy. `what`: a part of the object's name there."""

        def waiting() -> bool:
            message: str = self.application.get("status", {}).get("operationState", {}).get("message", "")
            return message.startswith("waiting for healthy state of ") and what in message

        try:
            wait_for(waiting, 120, f"Argo CD waits for {what}")
        except TimeoutError as error:
            status = self.application.get("status", {})
            error.add_note(f"{status.get('operationState', {}).get('message')}\n{status.get('health')}\n{status.get('conditions')}")
            raise


def _named(resource: dict[str, Any]) -> Key:
    return resource["kind"], resource.get("namespace", ""), resource["name"]


def _resource(o: Object) -> str:
    group = o["apiVersion"].rpartition("/")[0]
    return f"{o['kind']}.{group}".lower().rstrip(".") if group else o["kind"].lower()


def compiled(size: str, choices: str = CHOICES) -> Files:
    return compile_site(parse_site(choices.replace("SIZE", size)), [SIZES[size]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("argocd")
    with control_plane(folder) as plane, running_argocd(plane, folder, REPOSITORY) as argocd:
        argocd.commit(compiled(FIRST))
        tree = build(argocd.repository / "dist" / "base")
        kinds = {(o["apiVersion"], o["kind"]) for o in tree}
        custom = [definition(*kind) for kind in sorted(kinds) if kind[0] not in BUILT_IN]
        for crd in custom:
            crd["spec"]["versions"][0]["subresources"] = {"status": {}}
        volumes = [
            volume(o["metadata"]["name"], o["metadata"]["namespace"]) | {"spec": _spec(o)} for o in of_kind(tree, "PersistentVolumeClaim")
        ]
        plane.apply([*custom, NODE, CLASS, *volumes], folder)
        plane.wait_for_definitions()
        with answering(plane, EVERYTHING) as silent:
            yield Site(argocd, folder, silent)


def _spec(claim: Object) -> Any:
    spec = volume(claim["metadata"]["name"], claim["metadata"]["namespace"])["spec"]
    return {**spec, "accessModes": claim["spec"]["accessModes"]}


def test_each_step_waits_until_what_came_before_it_is_healthy(site: Site) -> None:
    databases = "/apis/postgresql.cnpg.io/v1/clusters"
    site.silent.add(databases)
    revision = site.choose(FIRST)
    site.waits_for("postgresql.cnpg.io/Cluster/postgresql-")
    there = site.objects()
    declared = {key(o): step(o) for o in site.there}
    assert set(declared.values()) == set(WAVES)
    assert there.keys() & declared.keys() == {one for one, number in declared.items() if number <= 2}
    site.silent.remove(databases)
    site.wait_until_synchronised(revision, FIRST)
    there = site.objects()
    made = {n: [there[one]["metadata"]["creationTimestamp"] for one, number in declared.items() if number == n] for n in WAVES}
    for earlier, later in zip(WAVES, list(WAVES)[1:], strict=False):
        assert max(made[earlier]) < min(made[later]), (earlier, later)


def test_the_health_checks_join_what_argo_cd_brings(site: Site) -> None:
    (settings,) = (o for o in site.plane.objects("configmap", NAMESPACE) if o["metadata"]["name"] == "argocd-cm")
    assert "resource.exclusions" in settings["data"]
    ours = {name for name in settings["data"] if name.startswith("resource.customizations.health.")}
    assert "resource.customizations.health.postgresql.cnpg.io_Cluster" in ours


def test_nothing_differs_from_what_is_declared_and_nothing_is_applied_again(site: Site) -> None:
    before = site.application["status"]
    assert {_named(r) for r in before["resources"]} == {key(o) for o in site.there}
    for _ in range(2):
        site.argocd.refresh(NAME, "hard")
    after = site.application["status"]
    assert [_named(r) for r in after["resources"] if r["status"] != "Synced"] == []
    assert [one["id"] for one in after["history"]] == [one["id"] for one in before["history"]]
    assert after["operationState"]["finishedAt"] == before["operationState"]["finishedAt"]


def test_what_was_changed_by_hand_is_put_back_and_what_an_autoscaler_sets_is_left(site: Site) -> None:
    autoscaler = of_kind(site.there, "HorizontalPodAutoscaler")[0]
    target, most = autoscaler["spec"]["scaleTargetRef"], autoscaler["spec"]["maxReplicas"]
    scaled = (target["kind"], autoscaler["metadata"]["namespace"], target["name"])
    quota, policy = ("ResourceQuota", "matrix", "platform"), ("NetworkPolicy", "matrix", "default-deny")
    hard = site.objects()[quota]["spec"]["hard"]
    more = {"spec": {"hard": dict.fromkeys(hard, "9999")}}
    site.plane.kubectl("scale", f"{scaled[0]}/{scaled[2]}", "--namespace", scaled[1], "--replicas", str(most))
    site.plane.kubectl("patch", "resourcequota", "platform", "--namespace", "matrix", "--type=merge", "--patch", json.dumps(more))
    site.plane.kubectl("delete", "networkpolicy", "default-deny", "--namespace", "matrix")

    def put_back() -> bool:
        there = site.objects()
        return policy in there and there[quota]["spec"]["hard"] == hard

    wait_for(put_back, 120, "what is declared is put back")
    site.argocd.refresh(NAME, "hard")
    there = site.objects()
    assert there[scaled]["spec"]["replicas"] == most
    assert [_named(r) for r in site.application["status"]["resources"] if r["status"] != "Synced"] == []


def test_what_is_switched_off_goes_and_what_holds_data_stays(site: Site) -> None:
    before = list(site.there)
    revision = site.choose(FIRST, CHOICES.replace(", antivirus: true", ""))
    gone = {key(o) for o in before} - {key(o) for o in site.there}
    data = frozenset(gone & kept(before))
    assert data == {("PersistentVolumeClaim", "matrix", "signatures")}
    site.wait_until_synchronised(revision, FIRST, data)
    results = {_named(r): r for r in site.application["status"]["operationState"]["syncResult"]["resources"]}
    there = site.objects().keys() | _present(site, gone)
    assert gone & there == data
    for one in data:
        assert results[one]["message"] == "ignored (no prune)"


def _present(site: Site, keys: set[Key]) -> set[Key]:
    kinds = ",".join(sorted({kind.lower() for kind, *_ in keys}))
    return {key(o) for o in site.plane.objects(kinds)}


@pytest.mark.parametrize("size", list(SIZES)[1:])
def test_another_size_is_synchronised_and_old_configuration_goes_last(site: Site, size: str) -> None:
    def configuration() -> set[Key]:
        return {key(o) for o in of_kind(site.there, "ConfigMap")}

    before = configuration()
    pods = "/api/v1/pods"
    site.silent.add(pods)
    revision = site.choose(size)
    old = before - configuration()
    assert old
    site.argocd.refresh(NAME)
    site.waits_for("")
    assert old <= site.objects().keys()
    site.silent.remove(pods)
    site.wait_until_synchronised(revision, size)
    assert not old & site.objects().keys()


def test_an_installation_that_argo_cd_is_no_longer_told_of_stays(site: Site) -> None:
    before = {one: o["metadata"]["uid"] for one, o in site.objects().items()}
    site.plane.kubectl("delete", "applicationset", "matrix-platform", "--namespace", NAMESPACE)
    wait_for(lambda: not site.plane.objects("applications.argoproj.io", NAMESPACE), 60, "the Application has gone")
    after = site.objects()
    assert {one: o["metadata"]["uid"] for one, o in after.items()} == before
    assert not [one for one, o in after.items() if "deletionTimestamp" in o["metadata"]]


def test_an_application_that_is_deleted_with_all_that_it_made_leaves_what_holds_data(site: Site, tmp_path: Path) -> None:
    (made,) = of_kind(site.argocd.told(), "ApplicationSet")
    template = made["spec"]["template"]
    size = made["spec"]["generators"][0]["list"]["elements"][0]["profile"]
    spec = yaml.safe_load(
        yaml.safe_dump(template["spec"]).replace("{{.profile}}", size).replace("{{.server}}", "https://kubernetes.default.svc")
    )
    metadata = {"name": NAME, "namespace": NAMESPACE, "finalizers": ["resources-finalizer.argocd.argoproj.io"]}
    site.plane.apply([{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec}], tmp_path)
    wait_for(lambda: site.application.get("status", {}).get("resources"), 120, "Argo CD knows what belongs to it")
    declared, data = {key(o) for o in site.there}, kept(site.there)
    site.plane.kubectl("delete", "application", NAME, "--namespace", NAMESPACE, "--wait=false")
    wait_for(lambda: not site.plane.objects("applications.argoproj.io", NAMESPACE), SYNC_SECONDS, "the Application has gone")
    there = site.objects()
    assert there.keys() & declared == data
    assert not [one for one in data if "deletionTimestamp" in there[one]["metadata"]]


def test_an_application_of_each_operator_is_one_that_its_project_lets_in(site: Site, tmp_path: Path) -> None:
    told = of_kind(site.argocd.told(), "Application")
    elsewhere = {**told[0], "metadata": {**told[0]["metadata"], "name": "elsewhere"}}
    elsewhere["spec"] = {**told[0]["spec"], "destination": {**told[0]["spec"]["destination"], "namespace": "matrix"}}
    site.plane.apply([*told, elsewhere], tmp_path)

    def conditions(name: str) -> set[str]:
        return {c["type"] for c in site.argocd.application(name).get("status", {}).get("conditions", [])}

    for o in [*told, elsewhere]:
        name = o["metadata"]["name"]
        found = wait_for(lambda: conditions(name), 120, f"Argo CD has looked at {name}")  # noqa: B023
        # A chart or file that cannot be fetched is an error of the comparison, with which an Application has been let in.
        assert ("InvalidSpecError" in found) == (name == "elsewhere"), (name, found)
