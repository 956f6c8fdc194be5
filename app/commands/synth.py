"""`synth`: compile."""

import sys
from pathlib import Path

import click

from app.commands.common import caution, with_site
from app.commands.output import progress
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
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 says that the folder is not what this would write.")
def synth(site: Site, out: Path, check: bool) -> None:
    """Write dist/: the base, one overlay per profile, and what installs them.

    It says what the folder declared before and no longer does, where only a person can delete it.
    """
    from app.compiler import compile_site
    from app.dist import differing, write_tree
    from app.inspection.kept import kept_in, left_behind_by
    from app.platform.room import short_copies
    from overlays import profiles

    with progress(f"compiling {len(profiles())} profiles"):
        files = compile_site(site, profiles())
    if check:
        found = differing(out, files)
        for path, what in found.items():
            click.echo(f"{out / path}: {what}")
        click.echo(f"{out}: {f'{len(found)} files differ; run synth' if found else 'up to date'}", err=bool(found))
        sys.exit(1 if found else 0)
    before = kept_in(out)
    write_tree(out, files)
    for left in left_behind_by(out, before):
        click.echo(left, err=True)
    click.echo(f"{out}: {len(files)} files")
    caution(site)
    if short := short_copies(site, profiles()):
        click.echo(
            f"caution: minio-li has no room for all media that minio-main may have: {', '.join(short)}. `check` says what is missing",
            err=True,
        )
