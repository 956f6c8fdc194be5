"""`bundle`: what an air-gapped site carries in, and whether it is whole."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.common import fail, with_site
from app.commands.output import progress
from app.site import Site

if TYPE_CHECKING:
    from app.bundle import BundledImage

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def bundle() -> None:
    """Make one folder with all that an air-gapped site needs, or say whether such a folder is whole."""


@bundle.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder that is not there yet.")
@click.option(
    "--since", type=click.Path(path_type=Path, exists=True), help="An earlier bundle, or its bundle.json: what it has brought is left out."
)
@click.option("--signatures", type=FOLDER, help="A folder with ClamAV's databases, to take along.")
@click.option("--docs", type=FOLDER, help="The documentation as `make site` has built it, to take along.")
@click.option("--ca", type=FILE, help="Who signs the certificate of the registry inside: a file that `push.sh` then trusts.")
@click.option("--sign", "key", type=FILE, help="A secret key of minisign.")
@click.option("--images-only", is_flag=True, help="No charts, no packages and no repository.")
@with_site
def make(
    site: Site,
    out: Path,
    since: Path | None,
    signatures: Path | None,
    docs: Path | None,
    ca: Path | None,
    key: Path | None,
    images_only: bool,
) -> None:
    """Fetch images, charts, packages and this repository into a folder, where there is internet.

    Needs skopeo, helm for the charts, git, and minisign where it is to be signed. The images that are built from here must be in
    `images.registry`. Name the site's own `images.mirror` already: what it replaces is fetched from upstream.
    """
    from app.bundle import AUTHORITY, SBOM, copy_images, known_digests, leave_out_known, seal, write_list

    if out.exists():
        fail(f"{out} is there already: give a folder that is not, or remove it")
    out.mkdir(parents=True)
    pairs, copied = needed_images(site), []
    for image in copy_images(pairs, out, known_digests(since)):
        copied.append(image)
        click.echo(f"{image.target}: {image.digest}" + ("" if image.folder else ", which the earlier bundle has"), err=True)
    if not images_only:
        with progress("fetching charts"):
            _charts(site, out)
        _packages(out)
        _repository(out)
    for folder, name in ((signatures, "signatures"), (docs, "docs")):
        if folder:
            shutil.copytree(folder, out / name)
    if ca:
        (out / AUTHORITY).parent.mkdir()
        shutil.copy(ca, out / AUTHORITY)
    (out / SBOM).write_text(_bill(site, out, copied, with_packages=not images_only))
    write_list(out, copied, leave_out_known(out, since), server_name=site.server_name)
    seal(out, key)
    click.echo(f"{out}: {sum(bool(image.folder) for image in copied)} of {len(copied)} images")


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--key", type=FILE, help="Whose signature it must have: minisign's public key.")
@with_site
def verify(site: Site, folder: Path, key: Path | None) -> None:
    """Say whether a bundle is whole, unchanged, and has every image that this site pulls. Needs no network. Exit code 1: it is not."""
    from app.bundle import problems

    with progress("reading every file"):
        found = list(problems(folder, [target for _, target in needed_images(site)], key))
    for problem in found:
        click.echo(problem, err=True)
    click.echo(f"{folder}: {'whole' if not found else f'{len(found)} problems'}")
    sys.exit(1 if found else 0)


def needed_images(site: Site) -> list[tuple[str, str]]:
    """Where each image is had, and the name by which the site pulls it: the platform's and the operators'."""
    from app.compiler import render
    from app.gitops.operators import wanted
    from app.inspection.images import used_images
    from kit.images import image_lock
    from overlays import profiles

    sources = {site.facts.pulls(image): image.reference(site.images.registry) for image in image_lock().values()}
    used = used_images(render(site, profiles()[0]).manifests())
    operators = [image for operator in wanted(site) for image in operator.images]
    return [
        *((sources.get(target, target), target) for target in used),
        *((image.reference, image.mirrored(site.images.mirror)) for image in operators),
    ]


def _charts(site: Site, out: Path) -> None:
    """The operators' charts, and the manifest of the one that has none, in the folder that `dist/operators` names."""
    from urllib.request import urlopen

    from app.gitops.operators import wanted

    (out / "charts").mkdir()
    for operator in wanted(site):
        if operator.chart:
            chart = operator.chart
            command = [
                "helm",
                "pull",
                chart.name,
                "--repo",
                chart.repository,
                "--version",
                chart.version,
                "--destination",
                str(out / "charts"),
            ]
            if shutil.which("helm") is None:
                fail("there is no helm, which fetches the charts: install it, or give --images-only")
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode:
                fail(f"{' '.join(command)}: {done.stderr.strip()}")
        elif operator.manifest:
            place = out / "operators" / operator.name
            place.mkdir(parents=True)
            with urlopen(operator.manifest, timeout=60) as answer:
                (place / "manifest.yaml").write_bytes(answer.read())
            (place / "kustomization.yaml").write_text("resources: [manifest.yaml]\n")


def _packages(out: Path) -> None:
    """What `make synth` installs here, for where there are no registries."""
    from app.packages import fetch_npm, fetch_wheels

    with progress("fetching wheels"):
        fetch_wheels(out / "wheels")
    with progress("fetching packages of npm"):
        fetch_npm(out / "npm")


def _bill(site: Site, out: Path, copied: Sequence["BundledImage"], *, with_packages: bool) -> str:
    """The list of all parts, those of earlier bundles too."""
    from importlib.metadata import version

    from app.gitops.operators import wanted
    from app.packages import ROOT
    from app.sbom import bill, chart_part, image_part, npm_parts, wheel_parts
    from kit.images import image_lock

    operators = wanted(site)
    licences = {image.reference(site.images.registry): image.licence for image in image_lock().values()}
    licences |= {image.reference: operator.licence for operator in operators for image in operator.images}
    parts = [image_part(image.source, image.digest, licences.get(image.source)) for image in copied]
    if with_packages:
        for operator in operators:
            if operator.chart:
                parts.append(chart_part(operator.chart.name, operator.chart.version, operator.chart.repository, operator.licence))
            elif operator.manifest:
                parts.append(chart_part(operator.name, operator.version, operator.manifest, operator.licence))
        parts += [*wheel_parts(out / "wheels"), *npm_parts((ROOT / "package-lock.json").read_text())]
    return bill(parts, "matrix-platform", version("matrix-platform"))


def _repository(out: Path) -> None:
    """This repository with its history: site.yaml, dist/, documentation and locks of what it is made with."""
    done = subprocess.run(["git", "bundle", "create", "--quiet", str(out / "repository.bundle"), "HEAD"], capture_output=True, check=False)
    if done.returncode:
        fail(f"git bundle: {done.stderr.decode().strip()}")
