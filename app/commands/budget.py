"""`budget`: what the platform requests of the cluster."""

import click

from app.commands.common import profile_named, with_site
from app.site import Site


@click.command()
@click.option("--profile", "name", help="Only this profile, e.g. 1000-ccu, workload by workload.")
@with_site
def budget(site: Site, name: str | None) -> None:
    """Print what the pods request, beside each profile's envelope."""
    from app.compiler import render
    from app.documents import budget_page, workload_table
    from overlays import profiles

    if name:
        profile = profile_named(name)
        click.echo(workload_table(render(site, profile)))
    else:
        renderings = {profile.name: render(site, profile) for profile in profiles()}
        click.echo(budget_page(site, profiles(), renderings))
