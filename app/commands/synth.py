"""`synth`: compile."""

from pathlib import Path

import click

from app.commands.common import caution, with_site
from app.site import Site


@click.command()
@with_site
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    envvar="CDK8S_OUTDIR",
    default=Path("dist"),
    show_default=True,
    help="The folder to write; it is replaced only by a complete result.",
)
def synth(site: Site, out: Path) -> None:
    """Write dist/: the base and one overlay per profile."""
    from app.compiler import compile_site
    from app.dist import write_tree
    from overlays import profiles

    files = compile_site(site, profiles())
    write_tree(out, files)
    click.echo(f"{out}: {len(files)} files")
    caution(site)
