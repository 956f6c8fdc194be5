"""The vault's commands: `python -m services.key_vault COMMAND`.

serve, migrate, verify-audit, check: need the settings. verify-archive: needs only the archive and the vault's public key.
Exit codes: 0 all is well; 1 it is not, and what was found is said; 2 wrong usage or settings.
"""

import os
import sys
import time
from collections.abc import Sequence

_DATABASE_SECONDS = 300.0

USAGE = """usage: python -m services.key_vault COMMAND

  serve              answer requests, until SIGTERM
  migrate            make or update the tables, as their owner
  check              read all settings and say what is wrong with them
  public-key         print the public key that exported archives are verified with
  verify-audit       prove that the audit log is whole (--help: how to give it the heads that were published)
  verify-archive     prove that an exported archive is whole; needs no settings and no network (--help)
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command."""
    if not arguments or arguments[0] not in {"serve", "migrate", "check", "public-key", "verify-audit", "verify-archive"}:
        print(USAGE, file=sys.stderr)
        return 2
    command, *rest = arguments
    if command == "verify-archive":
        from services.key_vault import archive

        return archive.main(rest)
    from services.key_vault.configuration import ConfigurationError, service

    os.environ["DJANGO_SETTINGS_MODULE"] = "services.key_vault.settings"
    try:
        if command in {"serve", "check", "public-key"}:
            service()
        from django.core.management import execute_from_command_line

        if command == "serve":
            from services.key_vault.server import Server

            Server().run()
            return 0
        if command == "check":
            from django.conf import settings

            print(f"The settings are complete; the database is {settings.DATABASES['default']['HOST']}.")
            return 0
        if command == "public-key":
            from services.key_vault.archive import public_key_pem

            print(public_key_pem(service().signing_key.public_key()).decode("ascii"), end="")
            return 0
        if command == "migrate":
            _wait_for_database()
        execute_from_command_line(["services.key_vault", command.replace("-", "_"), *rest])
    except ConfigurationError as error:
        print(f"The settings cannot be used:\n{error}", file=sys.stderr)
        return 2
    return 0


def _wait_for_database() -> None:
    """Wait until the database answers, which is made at the same time as the Job that makes its tables. Raises what it says in the end."""
    import django
    from django.db import OperationalError, connection

    django.setup()
    deadline = time.monotonic() + _DATABASE_SECONDS
    while True:
        try:
            connection.ensure_connection()
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
