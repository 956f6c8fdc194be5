"""What commands share: the option that names the settings, the profile that a person means, and how a command fails."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from overlays import Profile

site_option = click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path),
    default=Path("site.yaml"),
    show_default=True,
    help="The settings of the installation.",
)


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
