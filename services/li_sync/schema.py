"""LI's side before the replication: the schema as main has it, sorted into what is replicated and what LI's Synapse writes.

The schema `public` is the replica, which LI's Synapse can only read. `local` has the tables that it writes, and comes first on its search
path. That is what makes the instance read-only: Synapse has no such mode.
"""

import os
import subprocess
from collections.abc import Collection

from psycopg import sql

from services.li_sync.postgres import Connection, Problem, rows, table, value
from services.li_sync.settings import Database, Settings
from services.li_sync.tables import Tables

LOCAL = "local"
_FOLLOWED = ("stream_positions", "cache_invalidation_stream_by_instance")
_DUMP_SECONDS = 600


def dump_schema(program: str, database: Database) -> str:
    """Main's schema as SQL, without owners and rights. Raises Problem with what pg_dump says."""
    parameters = database.parameters()
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "channel_binding": "PGCHANNELBINDING"}
    environment = {"PATH": os.environ.get("PATH", ""), **{names[name]: text for name, text in parameters.items()}}
    options = [
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--no-publications",
        "--no-subscriptions",
        "--no-comments",
        "--schema=public",
    ]
    try:
        run = subprocess.run([program, *options], env=environment, capture_output=True, text=True, timeout=_DUMP_SECONDS, check=False)
    except FileNotFoundError:
        raise Problem(f"{program} is not installed: set pg_dump to its path") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"pg_dump did not end within {_DUMP_SECONDS} s: something holds locks on main's tables") from None
    if run.returncode:
        raise Problem(f"pg_dump failed: {run.stderr.strip()[-500:]}")
    # Lines for psql alone (\restrict, \unrestrict), and the schema that every database has.
    skipped = ("\\", "CREATE SCHEMA public;")
    return "\n".join(line for line in run.stdout.splitlines() if not line.startswith(skipped))


def is_made(li: Connection) -> bool:
    """Whether the schema is there. It is made in one transaction: all of it or nothing."""
    return value(li, "SELECT to_regnamespace(%s)", (LOCAL,)) is not None


def make_schema(li: Connection, main: Connection, dump: str, tables: Tables) -> None:
    """Make the schema in an empty database, with the rows that say how far it is. Raises Problem if it is not empty."""
    if value(li, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"):
        raise Problem("LI's database has tables that this program has not made: give it an empty one")
    with li.transaction():
        li.execute(dump)
        li.execute("SET LOCAL search_path = public")
        li.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(LOCAL)))
        for name in tables.local:
            li.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table("public", name), sql.Identifier(LOCAL)))
        for name in tables.also_local:
            li.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(table(LOCAL, name), table("public", name)))
        for name in seeded(li, tables):
            _copy(main, li, name)
        li.execute(_take_over_positions(tables))
        # For mirror_new_media, which asks for the newest uploads every few seconds.
        li.execute("CREATE INDEX li_sync_local_media_repository_created ON public.local_media_repository (created_ts)")


def seeded(li: Connection, tables: Tables) -> Collection[str]:
    """The local tables whose rows come from main: those that are listed, and all that have exactly one row by a column `lock`."""
    single = "SELECT table_name FROM information_schema.columns WHERE table_schema = %s AND column_name = 'lock'"
    # It has a column of that name for another reason.
    names = {name for (name,) in rows(li, single, (LOCAL,))} - {"worker_locks"}
    return sorted(names | {*tables.seeded})


def _copy(main: Connection, li: Connection, name: str) -> None:
    names = [
        column
        for (column,) in rows(
            li,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attgenerated = '' ORDER BY attnum",
            (f'{LOCAL}."{name}"',),
        )
    ]
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    li.execute(sql.SQL("DELETE FROM {}").format(table(LOCAL, name)))
    with (
        main.cursor().copy(sql.SQL("COPY {} ({}) TO STDOUT").format(table("public", name), listed)) as source,
        li.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table(LOCAL, name), listed)) as target,
    ):
        for block in source:
            target.write(block)


def _take_over_positions(tables: Tables) -> sql.Composed:
    """A function for LI's Synapse to call before each start: it begins where main is, and its sequences are not behind that.

    Without it Synapse begins at the newest row, and an event that main is still writing at that moment is never shown (id_generators.py,
    `_load_current_ids`); with positions above its sequences it does not start (sequence.py, `check_consistency`). Written for the rights of
    LI's Synapse itself, so that its pod needs no other role.
    """
    lifts = [
        sql.SQL(
            "PERFORM setval({sequence}, greatest((SELECT last_value FROM {name}), "
            "(SELECT max(abs(stream_id)) FROM local.stream_positions WHERE stream_name = {stream}), 1));"
        ).format(sequence=sql.Literal(f"public.{stream.sequence}"), name=table("public", stream.sequence), stream=sql.Literal(name))
        for name, stream in sorted(tables.streams.items())
    ]
    return sql.SQL("""
        CREATE OR REPLACE FUNCTION local.take_over_positions(main_process text) RETURNS integer LANGUAGE plpgsql AS $$
        DECLARE taken integer;
        BEGIN
            LOCK TABLE local.stream_positions IN EXCLUSIVE MODE;
            DELETE FROM local.stream_positions WHERE stream_name IN ({streams});
            INSERT INTO local.stream_positions (stream_name, instance_name, stream_id)
                SELECT stream_name, CASE instance_name WHEN 'master' THEN main_process ELSE instance_name END, stream_id
                FROM public.stream_positions WHERE stream_name IN ({streams});
            GET DIAGNOSTICS taken = ROW_COUNT;
            {lifts}
            RETURN taken;
        END $$
    """).format(streams=sql.SQL(", ").join(map(sql.Literal, sorted(tables.streams))), lifts=sql.SQL("\n").join(lifts))


def set_rights(li: Connection, tables: Tables, settings: Settings) -> None:
    """What LI's Synapse and the feeder may do, one line a schema; and what the access check may read."""
    roles = (settings.li.synapse_role, settings.li.follower_role)
    reader = settings.li.reader_role
    for role in (*roles, *([reader] if reader else [])):
        found = rows(li, "SELECT rolsuper, pg_has_role(rolname, current_user, 'member') FROM pg_roles WHERE rolname = %s", (role,))
        if not found:
            raise Problem(f"LI has no role {role}: create it, with LOGIN and nothing else")
        if True in found[0]:
            raise Problem(f"LI's role {role} is a superuser or a member of {li.info.user}, so that nothing would keep it from writing")
    synapse, follower = map(sql.Identifier, roles)
    statements = [
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {synapse}, {follower}, PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM {synapse}, {follower}, PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {synapse}, {follower}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {synapse}",
        "GRANT SELECT ON {followed} TO {follower}",
        # Synapse says CREATE TABLE IF NOT EXISTS before anything else (prepare_database.py), which needs CREATE also where the table exists.
        "GRANT USAGE, CREATE ON SCHEMA local TO {synapse}",
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA local TO {synapse}",
        "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public, local TO {synapse}",
        "REVOKE ALL ON FUNCTION local.take_over_positions(text) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION local.take_over_positions(text) TO {synapse}",
        "ALTER DATABASE {database} SET search_path = local, public",
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {synapse}, {follower}",
    ]
    followed = sql.SQL(", ").join(table("public", name) for name in _FOLLOWED)
    names = {"synapse": synapse, "follower": follower, "followed": followed, "database": sql.Identifier(li.info.dbname)}
    for statement in statements:
        li.execute(sql.SQL(statement).format(**names))
    for name, column in sorted({pair for stream in tables.streams.values() for pair in stream.rows.items()}):
        # Who wrote which id, and nothing of what.
        columns = sql.SQL(", ").join(map(sql.Identifier, ("instance_name", column)))
        li.execute(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(columns, table("public", name), follower))
    if reader:
        _let_look_up(li, sql.Identifier(reader))


def _let_look_up(li: Connection, reader: sql.Identifier) -> None:
    """Who was ever in which room, and in which room an event is."""
    statements = [
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {reader}",
        "REVOKE CREATE ON SCHEMA public FROM {reader}",
        "GRANT USAGE ON SCHEMA public TO {reader}",
        "GRANT CONNECT ON DATABASE {database} TO {reader}",
        "GRANT SELECT (event_id, room_id) ON public.events TO {reader}",
        "GRANT SELECT (room_id, user_id, membership) ON public.room_memberships TO {reader}",
    ]
    for statement in statements:
        li.execute(sql.SQL(statement).format(reader=reader, database=sql.Identifier(li.info.dbname)))
