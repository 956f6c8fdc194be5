"""`budget`: what the platform requests of the cluster."""

from pathlib import Path

import click

from app.commands.common import profile_named, site_option
from app.settings import read_site


@click.command()
@click.option("--profile", "name", help="Only this profile, e.g. 1000-ccu, workload by workload.")
@site_option
def budget(site_file: Path, name: str | None) -> None:
    """Print what the pods request, beside each profile's envelope."""
    from app.compiler import render
    from app.documents import budget_page, workload_table
    from overlays import profiles

    site = read_site(site_file)
    if name:
        profile = profile_named(name)
        click.echo(workload_table(render(site, profile)))
    else:
        renderings = {profile.name: render(site, profile) for profile in profiles()}
        click.echo(budget_page(profiles(), renderings))
