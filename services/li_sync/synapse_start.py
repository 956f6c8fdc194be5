"""Start LI's Synapse: `python synapse_start.py MAIN_PROCESS ARGUMENTS_OF_SYNAPSE...`, in Synapse's own image.

Before each start, also one after a crash, LI's Synapse takes over main's positions (`local.take_over_positions`, made by li_sync's `prepare`).
It waits for a database that is prepared: started on an empty one Synapse would make a schema of its own. This file stands alone: it is mounted
into the pod, and uses what Synapse brings.
"""

import os
import sys
import time

import psycopg2
from synapse.config.homeserver import HomeServerConfig

WAIT_SECONDS = 600.0
_PAUSE_SECONDS = 2.0
# Written by Synapse itself, or for its connection pool.
_NOT_OF_LIBPQ = ("cp_min", "cp_max", "cp_reconnect", "cp_noisy", "cp_openfun", "cp_good_sql")


def take_over_positions(arguments: dict[str, object], main_process: str) -> int | None:
    """How many positions were taken over, of which a new main has none; None while tables are still to be copied. Raises psycopg2.Error."""
    parameters = {name: value for name, value in arguments.items() if name not in _NOT_OF_LIBPQ}
    connection = psycopg2.connect(**{**parameters, "connect_timeout": 5})
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '60s'")
            cursor.execute("SELECT count(*), count(*) FILTER (WHERE srsubstate <> 'r') FROM pg_subscription_rel")
            tables, copying = cursor.fetchone()
            if copying:
                return None
            cursor.execute("SELECT local.take_over_positions(%s)", (main_process,))
            taken: int = cursor.fetchone()[0]
            # Without a subscription it is a new database, or one that is to be rebuilt and shows what it has until then.
            return taken if tables or taken else None
    finally:
        connection.close()


def main() -> None:
    """Take over, then become Synapse."""
    main_process, options = sys.argv[1], sys.argv[2:]
    configuration = HomeServerConfig.load_config("Synapse of LI", options)
    arguments = dict(configuration.database.get_single_database().config["args"])
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            taken, why = take_over_positions(arguments, main_process), "main's tables are being copied"
        except psycopg2.Error as error:
            # Not its text, which may hold the connection's parameters.
            taken, why = None, type(error).__name__
        if taken is not None:
            break
        print(f"LI's database is not prepared yet: {why}", file=sys.stderr, flush=True)
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(_PAUSE_SECONDS)
    print(f"took over {taken} positions of main", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "synapse.app.homeserver", *options])


if __name__ == "__main__":
    main()
