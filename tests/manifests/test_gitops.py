"""What Argo CD, Flux and Helm are told: valid objects that allow what `dist/` has and nothing more, and checks of health that do not err."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from app.compiler import compile_site
from app.gitops.operators import operator_files, wanted
from app.settings import SettingsError, parse_site
from infrastructure.operators import OPERATORS
from kit.options import OptionError
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.manifests.rules.objects import Objects, of_kind
from tests.manifests.rules.schemas import Definitions, built_in_problems

SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {li: true, monitoring: true, antivirus: true, calls: true, federation: true}
monitoring: {keda: {namespace: keda}}
li: {country_code: DE, owner: operator, officers: {anna@example.com: Anna Adler (investigator)}}
cluster: {node_cidrs: [10.0.0.0/24]}
gitops:
  repository: https://git.example.com/chat/matrix-platform.git
  clusters:
    production: {profile: 1000-ccu, automatic: true, prune: true}
    staging: {profile: 100-ccu, server: "https://staging.example.com:6443"}
"""


@pytest.fixture(scope="module")
def gitops_dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gitops")
    write(folder, compile_site(parse_site(SITE), profiles()[:2]))
    return folder


@pytest.fixture(scope="module")
def argocd(gitops_dist: Path) -> Objects:
    return build(gitops_dist / "argocd")


@pytest.fixture(scope="module")
def flux(gitops_dist: Path) -> Objects:
    return build(gitops_dist / "flux" / "production")


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in of_kind(objects, kind) if o["metadata"]["name"] == name]
    return found


def test_every_object_follows_its_definition(argocd: Objects, flux: Objects) -> None:
    definitions = Definitions.at_hand()
    assert {o["kind"] for o in argocd} == {"AppProject", "Application", "ApplicationSet", "ConfigMap"}
    assert {o["kind"] for o in flux} == {"GitRepository", "HelmRepository", "HelmRelease", "Kustomization"}
    assert definitions.problems([*argocd, *flux]) == []
    assert built_in_problems(of_kind(argocd, "ConfigMap")) == []
    right = named(flux, "Kustomization", "matrix-platform")
    wrong = {**right, "spec": {**right["spec"], "prune": "perhaps"}}
    assert len(definitions.problems([wrong])) == 1


def not_allowed(project: dict[str, Any], objects: Objects) -> list[str]:
    """What of an overlay a project does not let in: docs/user-guide/projects.md of Argo CD."""
    spec = project["spec"]
    allowed = {
        scope: {(entry["group"], entry["kind"]) for entry in spec[key]}
        for scope, key in ((False, "clusterResourceWhitelist"), (True, "namespaceResourceWhitelist"))
    }
    namespaces = {destination["namespace"] for destination in spec["destinations"]}
    found = []
    for o in objects:
        namespace, kind = o["metadata"].get("namespace"), (o["apiVersion"].rpartition("/")[0], o["kind"])
        if kind not in allowed[namespace is not None] or (namespace and namespace not in namespaces):
            found.append(f"{o['kind']} {namespace}/{o['metadata']['name']}")
    return found


def test_the_project_lets_in_what_the_overlays_have_and_no_more(argocd: Objects, gitops_dist: Path) -> None:
    project = named(argocd, "AppProject", "matrix-platform")
    objects = [o for name in ("1000-ccu", "100-ccu") for o in build(gitops_dist / "overlays" / name)]
    assert not_allowed(project, objects) == []
    for key, scoped in (("clusterResourceWhitelist", False), ("namespaceResourceWhitelist", True)):
        there = {(o["apiVersion"].rpartition("/")[0], o["kind"]) for o in objects if ("namespace" in o["metadata"]) == scoped}
        assert {(entry["group"], entry["kind"]) for entry in project["spec"][key]} == there
    intruder = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "matrix"}}
    elsewhere = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "kube-system"}}
    assert len(not_allowed(project, [intruder, elsewhere])) == 2


def test_each_cluster_gets_the_overlay_of_its_profile(argocd: Objects, gitops_dist: Path) -> None:
    spec = named(argocd, "ApplicationSet", "matrix-platform")["spec"]
    (generator,) = spec["generators"]
    elements = {element["name"]: element for element in generator["list"]["elements"]}
    assert elements["production"] == {
        "name": "production",
        "server": "https://kubernetes.default.svc",
        "profile": "1000-ccu",
        "automatic": True,
        "prune": True,
    }
    assert (elements["staging"]["server"], elements["staging"]["automatic"]) == ("https://staging.example.com:6443", False)
    for element in elements.values():
        path = spec["template"]["spec"]["source"]["path"].replace("{{.profile}}", element["profile"]).removeprefix("dist/")
        assert (gitops_dist / path / "kustomization.yaml").is_file()


def test_a_project_admits_the_place_of_each_application(argocd: Objects) -> None:
    """An Application whose server and namespace are no destination of its project is refused whole: docs/user-guide/projects.md."""
    application_set = named(argocd, "ApplicationSet", "matrix-platform")["spec"]
    template = application_set["template"]["spec"]
    servers = [element["server"] for element in application_set["generators"][0]["list"]["elements"]]
    places = [(template["project"], {**template["destination"], "server": server}) for server in servers]
    places += [(o["spec"]["project"], o["spec"]["destination"]) for o in of_kind(argocd, "Application")]
    assert len(places) > len(servers)
    for project, place in places:
        assert place in named(argocd, "AppProject", project)["spec"]["destinations"]


def test_replicas_that_an_autoscaler_sets_are_no_drift(argocd: Objects, gitops_dist: Path) -> None:
    template = named(argocd, "ApplicationSet", "matrix-platform")["spec"]["template"]["spec"]
    left = {(entry["kind"], entry["name"]) for entry in template["ignoreDifferences"]}
    scaled = [
        o["spec"]["scaleTargetRef"]
        for o in of_kind(build(gitops_dist / "overlays" / "1000-ccu"), "HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert left == {(target["kind"], target["name"]) for target in scaled} != set()
    assert {"ServerSideApply=true", "RespectIgnoreDifferences=true"} <= set(template["syncPolicy"]["syncOptions"])


def test_flux_applies_the_same_folders(flux: Objects, gitops_dist: Path) -> None:
    for kustomization in of_kind(flux, "Kustomization"):
        path = kustomization["spec"]["path"].removeprefix("./dist/")
        assert (gitops_dist / path / "kustomization.yaml").is_file()
        assert named(flux, kustomization["spec"]["sourceRef"]["kind"], kustomization["spec"]["sourceRef"]["name"])
    assert named(flux, "Kustomization", "matrix-platform")["spec"]["path"] == "./dist/overlays/1000-ccu"
    for release in of_kind(flux, "HelmRelease"):
        assert named(flux, "HelmRepository", release["spec"]["chart"]["spec"]["sourceRef"]["name"])


# --- Operators


def test_all_three_install_the_same_operators_by_the_same_references(argocd: Objects, flux: Objects, gitops_dist: Path) -> None:
    charts = {(o.name, o.chart.name, o.chart.version) for o in OPERATORS if o.chart}
    sources = [(o["metadata"]["name"].removeprefix("production-"), o["spec"]["source"]) for o in of_kind(argocd, "Application")]
    assert {(name, s["chart"], s["targetRevision"]) for name, s in sources if "chart" in s and not name.startswith("staging")} == charts
    releases = [(o["metadata"]["name"], o["spec"]["chart"]["spec"]) for o in of_kind(flux, "HelmRelease")]
    assert {(name, chart["chart"], chart["version"]) for name, chart in releases} == charts
    script = (gitops_dist / "operators" / "install.sh").read_text()
    for name, chart, version in charts:
        assert f"helm upgrade --install {name} {chart} --repo " in script
        assert f"--version {version} " in script
    assert subprocess.run(["sh", "-n", str(gitops_dist / "operators" / "install.sh")], check=False).returncode == 0


def test_an_operator_that_nobody_needs_or_that_is_there_already_is_not_installed() -> None:
    external = "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}\ningress: {class_name: haproxy}\n"
    names = [o.name for o in wanted(parse_site("server_name: example.com\nimages: {registry: r.example.com/m}\n" + external))]
    assert names == ["cert-manager", "cloudnative-pg", "barman-cloud-plugin"]
    present = SITE.replace("  clusters:", "  present: [cert-manager, traefik]\n  clusters:")
    assert [o.name for o in wanted(parse_site(present))] == ["cloudnative-pg", "barman-cloud-plugin", "minio-operator", "keda"]


def test_charts_come_from_a_registry_inside_where_the_site_names_one() -> None:
    site = parse_site(SITE.replace("  clusters:", "  charts: oci://registry.example.com/charts\n  clusters:"))
    files = compile_site(site, profiles()[:2])
    for path in ("operators/install.sh", "argocd/operators.yaml", "argocd/projects.yaml", "flux/production/operators.yaml"):
        assert "https://charts.jetstack.io" not in files[path], path
    assert "oci://registry.example.com/charts/cert-manager --version v1.21.1" in operator_files(site)["install.sh"]
    assert "repoURL: registry.example.com/charts\n" in files["argocd/operators.yaml"]
    assert "type: oci" in files["flux/production/operators.yaml"]


BARMAN = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: barman-cloud, namespace: cnpg-system}
spec:
  template:
    spec:
      containers:
        - name: barman-cloud
          image: ghcr.io/cloudnative-pg/plugin-barman-cloud:v0.14.0
          env:
            - name: SIDECAR_IMAGE
              valueFrom: {secretKeyRef: {name: plugin-barman-cloud-8tfddg42gf, key: SIDECAR_IMAGE}}
"""


def test_a_mirror_has_the_images_of_the_operators_too(tmp_path: Path) -> None:
    site = parse_site(SITE.replace("matrix}", "matrix, mirror: registry.example.com/mirror}", 1))
    write(tmp_path / "dist/operators", operator_files(site))
    for operator in wanted(site):
        told = tmp_path / "dist/operators" / f"{operator.name}.yaml"
        for image in operator.images if operator.chart else ():
            place = yaml.safe_load(told.read_text())
            for key in (image.values or "").split("."):
                place = place[key]
            parts = [place["registry"], place["repository"]] if "registry" in place else [place["repository"]]
            assert f"{'/'.join(parts)}:{place['tag']}" == image.mirrored("registry.example.com/mirror")
    # Its manifest, of which this is the part with images, comes with the bundle.
    write(tmp_path / "operators/barman-cloud-plugin", {"manifest.yaml": BARMAN, "kustomization.yaml": "resources: [manifest.yaml]\n"})
    (deployment,) = build(tmp_path / "dist/operators/barman-cloud-plugin")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/mirror/cloudnative-pg/plugin-barman-cloud:v0.14.0"
    sidecar = "registry.example.com/mirror/cloudnative-pg/plugin-barman-cloud-sidecar:v0.14.0"
    assert container["env"] == [{"name": "SIDECAR_IMAGE", "value": sidecar}]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("repository: git@git.example.com:chat/matrix.git", "ssh://git@git.example.com/chat/matrix.git"),
        ("repository: https://user:password@git.example.com/a.git", "belongs into a Secret"),
        ("charts: https://charts.example.com", "is not oci://"),
    ],
)
def test_a_wrong_reference_says_what_to_write(wrong: str, reason: str) -> None:
    key = wrong.partition(":")[0]
    lines = [line for line in SITE.splitlines() if not line.startswith(f"  {key}:")]
    lines.insert(lines.index("gitops:") + 1, f"  {wrong}")
    with pytest.raises(SettingsError, match=reason.replace("(", r"\(")):
        parse_site("\n".join(lines))


def test_a_cluster_with_a_profile_that_there_is_not_is_refused() -> None:
    with pytest.raises(OptionError, match="there is no profile 7-ccu"):
        compile_site(parse_site(SITE.replace("100-ccu", "7-ccu")), profiles()[:2])


# --- Health, judged by real Lua as Argo CD does


def judge(name: str, o: dict[str, Any]) -> str:
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(o, recursive=True)
    return str(lua.execute((ROOT / "app/gitops/health" / f"{name}.lua").read_text())["status"])


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (None, "Progressing"),
        ({}, "Progressing"),
        ({"phase": "Setting up primary"}, "Progressing"),
        ({"phase": "Switchover in progress", "phaseReason": "to 2", "conditions": [{"type": "Ready", "status": "False"}]}, "Progressing"),
        ({"phase": "Applying configuration"}, "Progressing"),
        ({"phase": "Cluster in healthy state", "conditions": []}, "Healthy"),
        ({"phase": "Waiting for user action"}, "Degraded"),
        ({"phase": "Cluster is unrecoverable and needs manual intervention"}, "Degraded"),
    ],
)
def test_a_database_is_healthy_when_its_operator_says_so_and_a_new_one_is_waited_for(status: Any, health: str) -> None:
    o = {"metadata": {"name": "postgresql-main"}, **({"status": status} if status is not None else {})}
    assert judge("postgresql.cnpg.io_Cluster", o) == health


@pytest.mark.parametrize(
    ("state", "health"),
    [
        (None, "Progressing"),
        ("", "Progressing"),
        ("Provisioning MinIO Statefulset", "Progressing"),
        ("Tenant credentials are not set properly", "Progressing"),
        ("Initialized", "Healthy"),
        ("Can't modify server count for pool pool-0", "Degraded"),
        ("Another MinIO Tenant already exists in the namespace", "Degraded"),
    ],
)
def test_object_storage_is_healthy_when_its_operator_says_so(state: str | None, health: str) -> None:
    assert judge("minio.min.io_Tenant", {"status": {"currentState": state}} if state is not None else {}) == health


@pytest.mark.parametrize("name", ["batch_CronJob", "autoscaling_HorizontalPodAutoscaler", "networking.k8s.io_Ingress"])
def test_what_has_nothing_to_wait_for_is_healthy_at_once(name: str) -> None:
    assert judge(name, {"spec": {}}) == "Healthy"


def test_the_checks_are_in_the_settings_of_argo_cd_under_the_kinds_that_they_are_for(argocd: Objects, gitops_dist: Path) -> None:
    settings = named(argocd, "ConfigMap", "argocd-cm")["data"]
    kinds = {(o["apiVersion"].rpartition("/")[0], o["kind"]) for o in build(gitops_dist / "overlays" / "1000-ccu")}
    for key, text in settings.items():
        group, _, kind = key.removeprefix("resource.customizations.health.").rpartition("_")
        assert (group, kind) in kinds, key
        assert text == (ROOT / "app/gitops/health" / f"{group}_{kind}.lua").read_text()
    assert yaml.safe_load((gitops_dist / "argocd" / "kustomization.yaml").read_text())["resources"][0] == "projects.yaml"
