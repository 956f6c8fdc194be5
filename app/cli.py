"""The command line. Every command reads site.yaml and the profiles, says what is wrong with all of them, and exits 2 if something is."""

from typing import Any

import click

from app.commands.budget import budget
from app.commands.common import fail
from app.commands.docs import docs
from app.commands.images import images
from app.commands.reach import reach
from app.commands.secrets import secrets
from app.commands.synth import synth
from app.errors import UserError


class Commands(click.Group):
    """Commands whose errors that a person can mend are printed without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 2 with the error's text if there is one."""
        from overlays import ProfileError

        try:
            return super().invoke(ctx)
        except ProfileError as error:
            fail(f"{error}\nnothing was written.")
        except UserError as error:
            fail(str(error))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Compile one settings file and the scaling profiles to a Kustomize tree that deploys Matrix."""


for command in (synth, docs, budget, images, reach, secrets):
    main.add_command(command)
