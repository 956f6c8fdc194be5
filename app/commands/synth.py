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
    """Write dist/: the base and one overlay per profile.

    It says what the folder declared before and no longer does, where only a person can delete it.
    """
    from app.compiler import compile_site
    from app.dist import write_tree
    from app.inspection.kept import kept_in, left_behind
    from overlays import profiles

    files = compile_site(site, profiles())
    before = kept_in(out)
    write_tree(out, files)
    for left in left_behind(before, kept_in(out)):
        click.echo(left, err=True)
    click.echo(f"{out}: {len(files)} files")
    caution(site)
