"""The command line. Every command reads site.yaml and the profiles, says what is wrong with all of them, and exits 2 if something is."""

import errno
import os
import sys
from typing import Any

import click

from app.commands.budget import budget
from app.commands.bundle import bundle
from app.commands.check import check
from app.commands.common import fail
from app.commands.diff import diff
from app.commands.docs import docs
from app.commands.explain import explain
from app.commands.images import images
from app.commands.init import init
from app.commands.plan import plan
from app.commands.reach import reach
from app.commands.secret_copies import export_secrets, import_secrets
from app.commands.secrets import secrets
from app.commands.synth import synth
from app.errors import UserError


class Commands(click.Group):
    """Commands whose errors that a person can mend are printed without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit 2 with the error's text if there is one."""
        from overlays import ProfileError

        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except ProfileError as error:
            fail(f"{error}\nnothing was written.")
        except UserError as error:
            fail(str(error))
        except OSError as error:
            if error.filename is not None or error.errno == errno.EPIPE:
                raise  # a file's name; or a reader that has seen enough, of which click says nothing
            # Standard output is on a full disk. Python would try once more as it ends, and say so in its own words.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            fail(f"the output cannot be written: {error.strerror}")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="matrix-platform", message="%(package)s %(version)s")
def main() -> None:
    """Compile one settings file and the scaling profiles to a Kustomize tree that deploys Matrix."""


for command in (init, synth, check, diff, plan, explain, budget, images, bundle, reach, secrets, export_secrets, import_secrets, docs):
    main.add_command(command)
