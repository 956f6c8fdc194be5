"""`docs`: write what is derived for people."""

from pathlib import Path

import click

from app.commands.common import with_site
from app.site import Site


@click.command()
@with_site
def docs(site: Site) -> None:
    """Write what is derived of docs/ and site.schema.json."""
    from app.compiler import render
    from app.documents import documents
    from app.schema import site_reference, site_schema_text
    from overlays import profiles

    renderings = {profile.name: render(site, profile) for profile in profiles()}
    pages = {f"docs/reference/{name}": text for name, text in documents(site, profiles(), renderings).items()}
    pages |= {"docs/site-reference.md": site_reference(), "site.schema.json": site_schema_text()}
    for path, text in pages.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        click.echo(path)
