"""`images`: what an air-gapped registry must hold."""

import click

from app.commands.common import with_site
from app.site import Site


@click.command()
@with_site
def images(site: Site) -> None:
    """List every image as this site pulls it: what an air-gapped registry must hold."""
    from app.compiler import render
    from app.inspection.images import used_images
    from overlays import profiles

    for reference in used_images(render(site, profiles()[0]).manifests()):
        click.echo(reference)
