"""`images`: what a registry must hold, and how ours come into it."""

import click

from app.commands.common import with_site
from app.site import Site


@click.command()
@click.option("--build", is_flag=True, help="Print the commands that build and push the images that are made from this repository.")
@with_site
def images(site: Site, build: bool) -> None:
    """List every image as this site pulls it: what an air-gapped registry must hold."""
    from app.compiler import render
    from app.inspection.images import used_images
    from kit.images import image_lock
    from overlays import profiles

    used = used_images(render(site, profiles()[0]).manifests())
    if not build:
        click.echo("\n".join(used))
        return
    for image in image_lock().values():
        if image.built and image.reference(site.images.registry) in used:
            # Its digest is known once it is pushed.
            name = image.reference(site.images.registry).partition("@")[0]
            click.echo(f"podman build --tag {name} --file {image.containerfile} services && podman push {name}")
