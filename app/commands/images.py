"""`images`: what a registry must hold, and how ours come into it."""

import sys
from collections.abc import Container, Iterator
from typing import NoReturn

import click

from app.commands.common import with_site
from app.site import Site


@click.command()
@click.option("--build", is_flag=True, help="Print the commands that build and push the images that are made from this repository.")
@click.option("--operators", is_flag=True, help="Those of the operators too, and of what these let run.")
@click.option(
    "--pin", is_flag=True, help="Ask the registries for the digest of every image of others (by skopeo), and write it into images.toml."
)
@click.option("--check", is_flag=True, help="Name the images of others that have a tag and no digest. Exit code 1: there are some.")
@with_site
def images(site: Site, build: bool, operators: bool, pin: bool, check: bool) -> None:
    """List every image as this site pulls it: what an air-gapped registry must hold."""
    if pin:
        _pin(site)
        return
    from app.compiler import render
    from app.gitops.operators import wanted
    from app.inspection.images import used_images
    from overlays import profiles

    used = used_images(render(site, profiles()[0]).manifests())
    if check:
        _check(site, used)
    if not build:
        theirs = [image.mirrored(site.images.mirror) for operator in wanted(site) for image in operator.images] if operators else []
        click.echo("\n".join([*used, *theirs]))
        return
    for command in build_commands(site, used):
        click.echo(command)


def build_commands(site: Site, used: Container[str]) -> Iterator[str]:
    """How those of the images are built and pushed that are made from this repository."""
    from kit.images import image_lock

    for image in image_lock().values():
        if image.built and image.reference(site.images.registry) in used:
            # Its digest is known once it is pushed.
            name = image.reference(site.images.registry).partition("@")[0]
            yield f"podman build --tag {name} --file {image.containerfile} services && podman push {name}"


def _check(site: Site, used: list[str]) -> NoReturn:
    """A tag can be another image tomorrow: what a release runs has digests, also what this site leaves out. Ours are built by each site."""
    from kit.images import image_lock

    others = {site.facts.pulls(image) for image in image_lock().values() if not image.built}
    others |= {image for image in used if not image.startswith(f"{site.images.registry}/")}
    without = [image for image in sorted(others) if "@sha256:" not in image]
    for image in without:
        click.echo(f"{image}: has no digest; images --pin asks the registries for it", err=True)
    click.echo("every image has its digest" if not without else f"{len(without)} of {len(others)} images have no digest")
    sys.exit(1 if without else 0)


def _pin(site: Site) -> None:
    """Write the digest of each image that is not built here, as the site's mirror has it, or upstream where there is no mirror."""
    from attrs import evolve

    from app.bundle import resolve
    from kit.images import LOCK_FILE, image_lock, pinned

    text = LOCK_FILE.read_text()
    for image in image_lock().values():
        if not image.built:
            digest = resolve(evolve(image, digest=None).reference(site.images.registry, site.images.mirror))
            text = pinned(text, image.name, digest)
            click.echo(f"{image.repository}:{image.tag}: {digest}")
    LOCK_FILE.write_text(text)
