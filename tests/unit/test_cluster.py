"""What the cluster of the tests is made of fits what is rendered; and the pure parts of it."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from infrastructure.operators import BARMAN_CLOUD_PLUGIN, CERT_MANAGER, CLOUDNATIVE_PG
from kit.images import image_lock
from overlays import profiles
from tests.cluster import images, operators, people, platform
from tests.cluster.sandbox import SERVICES, address
from tests.cluster.volumes import volume
from tests.definitions import is_served
from tests.kustomize import build
from tools.build_go import PROGRAMS, GoProgram

PROFILES = [profile.name for profile in profiles()]


@pytest.fixture(scope="session")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the tests' site, compiled."""
    return platform.compiled(platform.SITE, tmp_path_factory.mktemp("dist") / "dist")


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("livekit", "github.com/livekit/livekit-server", image_lock()["livekit"].tag),
        ("alloy", "github.com/grafana/alloy", image_lock()["alloy"].tag),
        ("loki", "github.com/grafana/loki/v3", f"v{image_lock()['loki'].tag}"),
        ("kube-state-metrics", "k8s.io/kube-state-metrics/v2", image_lock()["kube-state-metrics"].tag),
        ("cnpg-exporter", "github.com/cloudnative-pg/cloudnative-pg", f"v{CLOUDNATIVE_PG.version}"),
        ("cert-manager", "github.com/cert-manager/cert-manager", f"v{CERT_MANAGER.version}"),
        ("cloudnative-pg", "github.com/cloudnative-pg/cloudnative-pg", f"v{CLOUDNATIVE_PG.version}"),
        ("barman-cloud", "github.com/cloudnative-pg/plugin-barman-cloud", f"v{BARMAN_CLOUD_PLUGIN.version}"),
    ],
)
def test_what_go_builds_is_the_version_that_is_deployed(module: str, source: str, expected: str) -> None:
    assert operators.version(module, source) == expected


def test_every_program_has_its_module_with_checksums_of_all_that_it_requires() -> None:
    for program in PROGRAMS.values():
        assert (program.module / "go.mod").exists()
        if "require" in (program.module / "go.mod").read_text():
            assert "h1:" in (program.module / "go.sum").read_text()


def test_a_program_is_built_again_when_its_module_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.build_go.ROOT", tmp_path)
    program = GoProgram("thing")
    program.module.mkdir(parents=True)
    (program.module / "go.mod").write_text("module thing\n")
    assert not program.is_built()
    program.path.parent.mkdir(parents=True)
    program.path.write_text("")
    program.path.chmod(0o755)
    (program.path.parent / "stamp").write_text(program.stamp)
    assert program.is_built()
    (program.module / "go.mod").write_text("module thing\n\ngo 1.25\n")
    assert not program.is_built()


@pytest.mark.parametrize("profile", PROFILES)
def test_somebody_has_said_what_every_image_is_made_of(overlays: Path, profile: str) -> None:
    names = images.used(build(overlays / profile))
    assert len(names) > 5
    for name in names:
        images.recipe(name)


def test_an_image_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(LookupError, match="nobody has said"):
        images.recipe("docker.io/somebody/something:1")


@pytest.mark.parametrize("profile", PROFILES)
def test_an_overlay_is_changed_in_what_is_stated_and_in_nothing_else(overlays: Path, profile: str, tmp_path: Path) -> None:
    overlay = overlays / profile
    rendered = {_key(o): o for o in build(overlay)}
    applied = {_key(o): o for o in platform.Overlay(overlay, tmp_path / "overlay").objects}
    assert rendered.keys() <= applied.keys()
    changed = {key for key, o in rendered.items() if applied[key] != o}
    assert {kind for kind, _, _ in changed} <= {"Issuer", "HorizontalPodAutoscaler", "DaemonSet", "StatefulSet", "Deployment"}
    for kind, _, name in changed:
        assert kind == "Issuer" or name in ("coturn", "lk-jwt-service", "client-reader")
    added = {kind for kind, _, _ in applied.keys() - rendered.keys()}
    assert added == {"Secret", "Service", "StatefulSet"}, "the Tenants' pods and Services, and what people give"


def test_the_drives_of_a_tenant_are_those_of_all_its_servers(overlays: Path) -> None:
    objects = build(overlays / PROFILES[0])
    made = operators.tenants(objects)
    pools = [o for o in made if o["kind"] == "StatefulSet"]
    assert len(pools) == len([o for o in objects if o["kind"] == "Tenant"]) > 0
    for o in pools:
        (container,) = o["spec"]["template"]["spec"]["containers"]
        servers, name = o["spec"]["replicas"], o["metadata"]["name"]
        assert f"{name}-{{0...{servers - 1}}}." in container["args"][-1]
        assert [claim["metadata"]["name"] for claim in o["spec"]["volumeClaimTemplates"]] == ["data0", "data1"]


def test_a_volume_is_on_the_node_that_the_scheduler_chose(tmp_path: Path) -> None:
    metadata = {"namespace": "matrix", "name": "data-0", "uid": "1-2", "annotations": {"volume.kubernetes.io/selected-node": "node-2"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local"}
    made = volume({"metadata": metadata, "spec": spec}, tmp_path)
    (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-2"]}]
    assert made["spec"]["claimRef"]["uid"] == "1-2"
    assert made["spec"]["local"] == {"path": str(tmp_path)}


def test_an_archive_of_images_has_all_that_its_index_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FOLDER", tmp_path / "layers")
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    programs = dict.fromkeys(("pause", "coredns"), program)
    names = ["registry.k8s.io/pause:3.10", "registry.k8s.io/coredns/coredns:v1", "ghcr.io/element-hq/lk-jwt-service:1"]
    images.archive(names, programs, tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as file:
        present = set(file.getnames())
        index = _read(file, "index.json")
        assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == sorted(names[:2])
        for described in index["manifests"]:
            manifest = _read(file, _blob(described))
            assert {_blob(part) for part in (manifest["config"], *manifest["layers"])} <= present
            assert _read(file, _blob(manifest["config"]))["config"]["Entrypoint"] in (["/pause"], ["/coredns"])
    assert images.stamp(names, programs) == images.stamp(reversed(names), programs)
    assert images.stamp(names[:1], programs) != images.stamp(names, programs)


def test_nodes_and_their_pods_have_addresses_that_the_site_says_they_have() -> None:
    site = yaml.safe_load(platform.SITE.read_text())["cluster"]
    assert site["node_cidrs"] == [f"{address(1).rpartition('.')[0]}.0/24"]
    assert site["service_cidrs"] == [SERVICES]


def _key(o: dict[str, Any]) -> tuple[str, str, str]:
    return o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]


def _read(file: tarfile.TarFile, path: str) -> Any:
    return json.loads((file.extractfile(path) or io.BytesIO()).read())


def _blob(described: dict[str, Any]) -> str:
    return f"blobs/sha256/{described['digest'].removeprefix('sha256:')}"


def test_who_registers_twice_keeps_the_password_that_the_account_has() -> None:
    class Api:
        def exec(self, *_: object, **__: object) -> str:
            return ""

    api: Any = Api()
    first = people.register(api, "alice", "bob")
    assert people.register(api, "alice") == {"alice": first["alice"]}
    assert first["alice"] != first["bob"]


@pytest.mark.parametrize(
    ("definition", "served"),
    [
        ({}, False),
        ({"status": None}, False),
        ({"status": {"conditions": None}}, False),
        ({"status": {"conditions": [{"type": "NamesAccepted", "status": "True"}]}}, False),
        ({"status": {"conditions": [{"type": "Established", "status": "False"}]}}, False),
        ({"status": {"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}}, True),
    ],
)
def test_a_kind_is_served_when_its_definition_is_established(definition: dict[str, Any], served: bool) -> None:
    assert is_served(definition) == served
