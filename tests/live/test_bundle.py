"""A bundle is made from one registry, verified without a network, and brought into another, from which a site then pulls everything."""

import hashlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from click.testing import CliRunner, Result

from app.bundle import AUTHORITY, BundledImage, write_list
from app.cli import main
from app.commands.bundle import needed_images
from app.compiler import compile_site
from app.inspection.images import used_images
from app.settings import read_site
from kit import images
from kit.images import image_lock
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.certificates import authority
from tests.live.processes import LOOPBACK, accepts_connections, free_ports, running, wait_for
from tests.live.programs import installed

pytestmark = pytest.mark.timeout(600)
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@frozen
class Registry:
    """Debian's docker-registry on loopback."""

    port: int

    def _send(self, method: str, path: str, body: bytes, kind: str) -> str:
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.port}{path}", body, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.headers.get("Location", ""))

    def _blob(self, name: str, content: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        place = self._send("POST", f"/v2/{name}/blobs/uploads/", b"", "application/octet-stream").partition(str(self.port))[2]
        self._send("PUT", f"{place}&digest={digest}", content, "application/octet-stream")
        return {"mediaType": kind, "size": len(content), "digest": digest}

    def push(self, name: str, tag: str, content: str = "made") -> str:
        """A small image for two platforms, in Docker's older format, which a copy to another one would give another digest."""
        platforms = []
        for architecture in ("amd64", "arm64"):
            layer = self._blob(name, f"{name}:{tag} {architecture} {content}".encode(), "application/vnd.docker.image.rootfs.diff.tar.gzip")
            config = self._blob(
                name, json.dumps({"architecture": architecture, "os": "linux"}).encode(), "application/vnd.docker.container.image.v1+json"
            )
            manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).encode()
            digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
            self._send("PUT", f"/v2/{name}/manifests/{digest}", manifest, MANIFEST)
            platform = {"architecture": architecture, "os": "linux"}
            platforms.append({"mediaType": MANIFEST, "size": len(manifest), "digest": digest, "platform": platform})
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms}).encode()
        self._send("PUT", f"/v2/{name}/manifests/{tag}", index, INDEX)
        return f"sha256:{hashlib.sha256(index).hexdigest()}"


def registry(folder: Path, tls: dict[str, str] | None = None) -> Iterator[Registry]:
    program, _, _ = (installed(name) for name in ("docker-registry", "skopeo", "minisign"))
    (port,) = free_ports(1)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
        "http": {"addr": f"{LOOPBACK}:{port}", **({"tls": tls} if tls else {})},
        "log": {"level": "error"},
    }
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(settings))
    with running([program, "serve", file]):
        wait_for(lambda: accepts_connections(port) if tls else _answers(port), 30, "the registry")
        yield Registry(port)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """What stands for all registries of the internet."""
    yield from registry(tmp_path_factory.mktemp("outside"))


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from registry(tmp_path_factory.mktemp("inside"))


@pytest.fixture(scope="module")
def site(inside: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("site") / "site.yaml"
    place = f"{LOOPBACK}:{inside.port}"
    file.write_text(f"server_name: example.com\nimages: {{registry: {place}/matrix, mirror: {place}/mirror}}\n")
    return file


@pytest.fixture(scope="module")
def internet(outside: Registry, inside: Registry, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Every image that the site and its operators need, in the registry outside; and how skopeo finds it there: target to digest."""
    hosts = {"quay.io", "ghcr.io", "docker.io", "registry.k8s.io"}
    told = [f'[[registry]]\nprefix = "{host}"\nlocation = "{LOOPBACK}:{outside.port}/{host}"\ninsecure = true\n' for host in sorted(hosts)]
    own = f"{LOOPBACK}:{inside.port}/matrix"
    told.append(f'[[registry]]\nprefix = "{own}"\nlocation = "{LOOPBACK}:{outside.port}/built"\ninsecure = true\n')
    home = tmp_path_factory.mktemp("home")
    settings = home / ".config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("\n".join(told))
    found = {}
    for source, target in needed_images(read_site(site)):
        name, _, tag = source.replace(own, "built").rpartition(":")
        found[target] = outside.push(name, tag)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        command = ["minisign", "-G", "-W", "-p", str(folder / f"{name}.pub"), "-s", str(folder / f"{name}.key")]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(internet: dict[str, str], site: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("carried") / "bundle"
    signatures = tmp_path_factory.mktemp("signatures")
    (signatures / "main.cvd").write_bytes(b"ClamAV-VDB")
    made = run("bundle", "make", "--site", site, "--out", out, "--sign", keys / "ours.key", "--images-only", "--signatures", signatures)
    assert made.exit_code == 0, made.output
    assert made.output.endswith(f"{out}: {len(internet)} of {len(internet)} images\n")
    return out


def verified(bundle: Path, site: Path, *arguments: object) -> tuple[int, str]:
    result = run("bundle", "verify", bundle, "--site", site, *arguments)
    return result.exit_code, result.output


def test_a_bundle_is_whole_and_signed(bundle: Path, site: Path, keys: Path) -> None:
    assert verified(bundle, site, "--key", keys / "ours.pub") == (0, f"{bundle}: whole\n")
    code, said = verified(bundle, site, "--key", keys / "theirs.pub")
    assert (code, "is not by this key" in said) == (1, True)


@pytest.mark.parametrize("harm", ["changed", "removed", "added", "another index"])
def test_what_is_not_as_it_was_is_named(harm: str, bundle: Path, site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    image = next(path for path in sorted((copy / "images").iterdir()))
    layer = next(path for path in sorted(image.iterdir()) if path.name not in ("manifest.json", "version") and "manifest" not in path.name)
    match harm:
        case "changed":
            layer.write_bytes(layer.read_bytes() + b"x")
        case "removed":
            layer.unlink()
        case "added":
            (copy / "stranger").write_text("")
        case "another index":
            (image / "manifest.json").write_text("{}")
    code, said = verified(copy, site)
    assert code == 1
    wanted = {
        "changed": "is not as it was",
        "removed": "is missing",
        "added": "stranger: is in no list",
        "another index": "with the digest",
    }
    assert wanted[harm] in said


def test_what_was_harmed_is_fetched_again_by_its_digest(bundle: Path, site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    for image in (copy / "images").iterdir():
        (image / "manifest.json").write_text("{}")
    assert verified(copy, site)[0] == 1
    subprocess.run(["sh", str(copy / "pull.sh")], check=True, timeout=300)
    assert verified(copy, site) == (0, f"{copy}: whole\n")


def test_every_image_is_in_the_list_of_parts(bundle: Path, internet: dict[str, str]) -> None:
    listed = json.loads((bundle / "sbom.cdx.json").read_text())["components"]
    assert {component["hashes"][0]["content"] for component in listed} == {digest.partition(":")[2] for digest in internet.values()}
    assert all(component["licenses"] for component in listed)


def test_an_image_that_the_site_pulls_and_the_bundle_has_not_is_named(bundle: Path, site: Path, tmp_path: Path) -> None:
    more = tmp_path / "site.yaml"
    more.write_text(site.read_text() + "features: {antivirus: true}\n")
    code, said = verified(bundle, more)
    assert code == 1
    assert "clamav:1.4.6: the site pulls it, and the bundle has it not" in said


def test_a_later_bundle_brings_only_what_is_new(
    bundle: Path, site: Path, outside: Registry, internet: dict[str, str], tmp_path: Path
) -> None:
    again = run("bundle", "make", "--site", site, "--out", tmp_path / "same", "--since", bundle, "--images-only")
    assert again.output.endswith(f"0 of {len(internet)} images\n"), again.output
    assert verified(tmp_path / "same", site)[0] == 0
    haproxy = image_lock()["haproxy"]
    assert outside.push(haproxy.repository, haproxy.tag, "rebuilt") not in internet.values()
    later = run("bundle", "make", "--site", site, "--out", tmp_path / "later", "--since", bundle / "bundle.json", "--images-only")
    assert later.output.endswith(f"1 of {len(internet)} images\n"), later.output
    assert "haproxy" in (tmp_path / "later" / "push.sh").read_text().splitlines()[-1]
    assert verified(tmp_path / "later", site)[0] == 0


def test_a_site_pulls_everything_from_the_registry_inside(
    bundle: Path, site: Path, inside: Registry, internet: dict[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(["sh", str(bundle / "push.sh"), "--dest-tls-verify=false"], check=True, env=environment, timeout=300)
    write(tmp_path, compile_site(read_site(site), profiles()))
    for profile in profiles():
        for reference in used_images(build(tmp_path / "overlays" / profile.name)):
            assert reference in internet, reference
    for reference, digest in internet.items():
        assert reference.startswith(f"{LOOPBACK}:{inside.port}/")
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"], check=True, capture_output=True, env=environment
        ).stdout
        # The same index, with both platforms: skopeo's plain copy would have made another of it.
        assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == digest
        assert {entry["platform"]["architecture"] for entry in json.loads(raw)["manifests"]} == {"amd64", "arm64"}


def test_a_registry_with_a_certificate_by_the_authority_of_the_bundle_is_trusted(bundle: Path, tmp_path: Path) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    certificate, key = ours.issue("localhost")
    for name, text in (("tls.crt", certificate), ("tls.key", key), ("ours.pem", ours.certificate), ("theirs.pem", theirs.certificate)):
        (tmp_path / name).write_text(text)
    (tmp_path / "registry").mkdir()
    tls = {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    for inside in registry(tmp_path / "registry", tls=tls):
        place = f"localhost:{inside.port}"
        image = json.loads((bundle / "bundle.json").read_text())["images"][0]
        carried = BundledImage(image["source"], f"{place}/mirror/a:1", image["digest"], image["folder"])
        results = []
        for who in ("ours", "theirs"):
            out = tmp_path / who
            shutil.copytree(bundle / image["folder"], out / image["folder"])
            (out / AUTHORITY).parent.mkdir()
            shutil.copy(tmp_path / f"{who}.pem", out / AUTHORITY)
            write_list(out, [carried], {})
            results.append(subprocess.run(["sh", str(out / "push.sh")], check=False, capture_output=True, timeout=60))
        assert [done.returncode == 0 for done in results] == [True, False]
        assert b"certificate" in results[1].stderr


@pytest.mark.usefixtures("internet")
def test_pinned_images_have_the_digests_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: Registry) -> None:
    upstream = tmp_path / "site.yaml"
    upstream.write_text("server_name: example.com\nimages: {registry: registry.example.com/matrix}\n")
    lock = tmp_path / "images.toml"
    shutil.copy(ROOT / "images.toml", lock)
    monkeypatch.setattr(images, "LOCK_FILE", lock)
    wanted = {}
    for image in image_lock().values():
        if not image.built:
            wanted[image.name] = outside.push(image.repository, image.tag)
    for _ in range(2):
        assert run("images", "--pin", "--site", upstream).exit_code == 0
    image_lock.cache_clear()
    pinned = {image.name: image.digest for image in image_lock().values() if image.digest}
    image_lock.cache_clear()
    assert pinned == wanted
    assert lock.read_text().count("digest = ") == len(wanted)
