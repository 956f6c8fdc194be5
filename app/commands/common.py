"""What commands share: the site that they are about, the profile that a person means, and how a command fails."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from app.cautions import cautions
from app.settings import located, read_site, warnings
from app.site import Site
from kit.options import OptionError

if TYPE_CHECKING:
    from overlays import Profile

F = TypeVar("F", bound=Callable[..., None])


def with_site(command: F) -> F:
    """A command whose first argument is the site that `--site` names. It is told on standard error what the site asks for in vain."""

    @click.option(
        "--site",
        "site_file",
        type=click.Path(path_type=Path),
        default=Path("site.yaml"),
        show_default=True,
        help="The settings of the installation.",
    )
    @wraps(command)
    def run(*arguments: Any, site_file: Path, **options: Any) -> None:
        site = read_site(site_file)
        for line in warnings(site_file):
            click.echo(line, err=True)
        try:
            command(site, *arguments, **options)
        except OptionError as error:
            raise located(site_file, error) from error

    return cast("F", run)


def caution(site: Site) -> None:
    """Say on standard error what the site's choices cannot survive."""
    for line in cautions(site):
        click.echo(f"caution: {line}", err=True)


def profile_named(name: str) -> "Profile":
    """The profile called so. Ends the command, with the nearest name, if there is none."""
    from difflib import get_close_matches

    from overlays import profiles

    by_name = {profile.name: profile for profile in profiles()}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        fail(f"there is no profile {name!r}" + (f"; did you mean {near[0]}?" if near else "") + f" (profiles: {', '.join(by_name)})")
    return by_name[name]


def fail(message: str) -> NoReturn:
    """End the command with a message and exit code 2."""
    click.echo(message, err=True)
    sys.exit(2)
