"""`images`: what an air-gapped registry must hold."""

from pathlib import Path

import click

from app.commands.common import site_option
from app.settings import read_site


@click.command()
@site_option
def images(site_file: Path) -> None:
    """List every image as this site pulls it: what an air-gapped registry must hold."""
    from app.compiler import render
    from app.inspection.images import used_images
    from overlays import profiles

    site = read_site(site_file)
    for reference in used_images(render(site, profiles()[0]).manifests()):
        click.echo(reference)
