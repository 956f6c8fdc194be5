"""CloudNativePG's definitions of the release before are replaced by those of the release that the platform names, on a real API server.

The runbook of docs/08-UPGRADES.md: definitions go first, by a server-side apply, and what is there stays as it is.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.compiler import render
from app.inspection.prerequisites import OLDEST_KUBERNETES, ClusterState, Wanted, findings
from app.objects import objects
from app.settings import read_site
from infrastructure.operators import CLOUDNATIVE_PG
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.control_plane import ControlPlane, control_plane
from tests.manifests.rules.objects import Object, Objects, of_kind

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(600)]
GROUP = "postgresql.cnpg.io"


@pytest.fixture(scope="module")
def releases() -> Path:
    """The folder of CloudNativePG's module that has the manifests of its releases."""
    if not shutil.which("go"):
        pytest.skip("needs the module of CloudNativePG: make programs")
    command = ["go", "mod", "download", "-json", "github.com/cloudnative-pg/cloudnative-pg"]
    module = ROOT / "tools" / "cloudnative-pg"
    got = subprocess.run(command, cwd=module, capture_output=True, text=True, timeout=120, check=False)
    if got.returncode:
        pytest.skip(f"needs the module of CloudNativePG: make programs ({got.stdout[-200:]})")
    return Path(json.loads(got.stdout)["Dir"]) / "releases"


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def before(releases: Path, version: str) -> str:
    """The newest release of the minor version before."""
    found = [m[1] for file in releases.iterdir() if (m := re.fullmatch(r"cnpg-(\d+\.\d+\.\d+)\.yaml", file.name))]
    return max((one for one in found if number(one)[:2] < number(version)[:2]), key=number)


def definitions(releases: Path, version: str) -> Objects:
    documents = yaml.load_all((releases / f"cnpg-{version}.yaml").read_text(), Loader=yaml.CSafeLoader)
    return of_kind([o for o in documents if o], "CustomResourceDefinition")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


def defined(cluster: ControlPlane, crds: Objects, folder: Path) -> None:
    """Definitions are applied, and known."""
    assert cluster.apply(crds, folder).warnings == ()
    cluster.wait_for_definitions()


def databases(cluster: ControlPlane, mine: Objects) -> dict[tuple[str, str], str]:
    """Each object of CloudNativePG, with what the API server keeps of it, without who wrote it when."""
    kinds = ",".join(sorted({f"{o['kind'].lower()}.{GROUP}" for o in mine}))
    return {
        (o["kind"], o["metadata"]["name"]): json.dumps([o["metadata"]["uid"], o["metadata"]["generation"], o["spec"]], sort_keys=True)
        for o in cluster.objects(kinds)
    }


def lacking(cluster: ControlPlane, rendered: Objects) -> set[str]:
    """Which of CloudNativePG's kinds `check --cluster` says that the cluster lacks."""
    found = findings(rendered, Wanted(None), ClusterState(OLDEST_KUBERNETES, cluster.objects("customresourcedefinitions")))
    return {finding.requirement for finding in found if GROUP in finding.requirement and not finding.met}


def test_newer_definitions_replace_older_ones_and_every_database_stays_as_it_is(
    cluster: ControlPlane, releases: Path, tmp_path: Path
) -> None:
    new, old = CLOUDNATIVE_PG.version, before(releases, CLOUDNATIVE_PG.version)
    rendered: list[Object] = [dict(o) for o in objects(render(read_site(ROOT / "tests" / "site.yaml"), profiles()[-1]))]
    mine = [o for o in rendered if o["apiVersion"].partition("/")[0] == GROUP]
    cluster.apply(of_kind(rendered, "Namespace"), tmp_path)

    defined(cluster, definitions(releases, old), tmp_path)
    known = {o["spec"]["names"]["kind"] for o in definitions(releases, old)}
    kept = [o for o in mine if o["kind"] in known]
    assert {"Cluster", "ScheduledBackup", "Database"} <= {o["kind"] for o in kept}
    assert cluster.apply(kept, tmp_path).warnings == ()
    there = databases(cluster, kept)
    assert lacking(cluster, rendered) == {f"{o['kind']} of {o['apiVersion']}" for o in mine if o["kind"] not in known}

    defined(cluster, definitions(releases, new), tmp_path)
    assert databases(cluster, kept) == there
    assert lacking(cluster, rendered) == set()
    assert cluster.apply(mine, tmp_path).warnings == ()
    # What is new is added, and nothing that was there is another one or has another generation.
    assert databases(cluster, kept) == there
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump_all(mine))
    assert cluster.kubectl("diff", "--server-side", "--filename", file, codes=(0, 1)).lines == ()
