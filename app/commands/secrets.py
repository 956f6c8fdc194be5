"""`secrets`: Secret manifests for the provider `manual`."""

import sys
from pathlib import Path

import click

from app.commands.common import with_site
from app.site import Site


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder outside of what is committed.")
@click.option(
    "--given",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the values that only you have, as <namespace>/<secret>/<key>.",
)
@click.option("--force", is_flag=True, help="Also into a Git work tree that does not ignore the files.")
@with_site
def secrets(site: Site, out: Path, given: Path | None, force: bool) -> None:
    """Write Secret manifests for the provider `manual`, to be sealed and applied by you. Values that are there stay.

    Exit code 3: all is written but the values that only you can give.
    """
    from cdk8s import App

    from app.platform import assemble
    from app.secret_manifests import read_given, write_manifests
    from overlays import profiles

    specs = [need.spec for need in assemble(App(), site, profiles()[0]).declared.secrets]
    written = write_manifests(specs, out, Path("dist"), read_given(given) if given else None, force=force)
    click.echo(f"{len(written.files)} files written below {out}; only you may read them.")
    for key in written.missing:
        click.echo(f"still to be given: {key}")
    sys.exit(3 if written.missing else 0)
