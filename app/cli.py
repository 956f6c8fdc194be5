"""The command line. Every command reads site.yaml and the profiles, says what is wrong with all of them, and exits 2 if something is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from app.settings import SettingsError, read_site
from app.site import Site

DEFAULT_SITE = Path("site.yaml")
Result = TypeVar("Result")

site_option = click.option(
    "--site", "site_file", type=click.Path(path_type=Path), default=DEFAULT_SITE, show_default=True, help="The settings of the installation."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compile one settings file and the scaling profiles to a Kustomize tree that deploys Matrix."""


@main.command()
@site_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    envvar="CDK8S_OUTDIR",
    default=Path("dist"),
    show_default=True,
    help="The folder to write; it is replaced only by a complete result.",
)
def synth(site_file: Path, out: Path) -> None:
    """Write dist/: the base and one overlay per profile."""
    site = _site(site_file)
    from app.dist import DistError, write_tree

    files = _or_exit(lambda: _compile(site))
    try:
        write_tree(out, files)
    except DistError as error:
        _fail(str(error))
    click.echo(f"{out}: {len(files)} files")


def _compile(site: Site) -> dict[str, str]:
    from app.compiler import compile_site
    from overlays import profiles

    return dict(compile_site(site, profiles()))


def _site(path: Path) -> Site:
    try:
        return read_site(path)
    except SettingsError as error:
        _fail(str(error))


def _or_exit(work: Callable[[], Result]) -> Result:
    """Run what may find a profile or a combination of settings impossible: the reason is printed, without a traceback."""
    from overlays import ProfileError

    try:
        return work()
    except ProfileError as error:
        _fail(f"{error}\nnothing was written.")


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)
