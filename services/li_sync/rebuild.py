"""rebuild: LI's database anew beside the one that serves, then in its place. For another schema version of main, or a broken subscription.

The databases change places in one transaction. A run that is killed before it leaves the old one serving; the next run, or `watch`, lets its
subscription go on, and drops what was left.
"""

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from attrs import evolve
from psycopg import sql

from services.li_sync import subscription
from services.li_sync.postgres import Connection, Problem, connect, rows, value
from services.li_sync.prepare import fill
from services.li_sync.publish import columns, publish
from services.li_sync.refresh import refresh
from services.li_sync.settings import Settings
from services.li_sync.verify import verify

_CARRIED = {"users": "name", "profiles": "full_user_id"}
"""Tables with rows of LI's own accounts, and the column that has the whole name."""
_RENAME_ATTEMPTS = 10


def rebuild(settings: Settings, step: Callable[[str], None], check: Callable[[], None]) -> Mapping[str, Any]:
    """Build, compare, swap, restart LI's Synapse. Raises Problem, UnknownSchema, or Different; the database that serves is as it was then."""
    serving = settings.li.owner.database
    new, old = f"{serving}_new", f"{serving}_old"
    with connect(
        evolve(settings.li.owner, database=settings.li.maintenance_database), statement_seconds=settings.statement_seconds
    ) as server:
        step("dropping what an earlier run has left")
        for leftover in (new, old):
            _drop_database(settings, server, leftover)
        create = "CREATE DATABASE {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'"
        server.execute(sql.SQL(create).format(sql.Identifier(new)))
        with connect(settings.main.owner, statement_seconds=settings.statement_seconds) as main:
            tables = publish(main, settings.subscription.name, settings.main.replication.user, step)
            facts = fill(settings, new, main, tables, step, check)
        carried = _carry(settings, new)
        step("comparing the new database with main")
        compared = verify(evolve(settings, li=evolve(settings.li, owner=evolve(settings.li.owner, database=new))), step)
        step("swapping")
        check()
        _swap(settings, server, serving, new, old)
        step("dropping the old database")
        _drop_database(settings, server, old)
    with connect(settings.li.owner) as li, connect(settings.main.replication) as main:
        orphans = subscription.drop_orphans(li, main, settings.subscription.name)
    restarted = refresh(settings.refresh, step)
    return {**compared, **restarted, "slot": facts["slot"], "accounts_carried": carried, "orphaned_slots_dropped": orphans}


def _exists(server: Connection, database: str) -> bool:
    return bool(value(server, "SELECT count(*) FROM pg_database WHERE datname = %s", (database,)))


def _drop_database(settings: Settings, server: Connection, database: str) -> None:
    if not _exists(server, database):
        return
    with connect(evolve(settings.li.owner, database=database)) as li:
        subscription.drop(li, settings.subscription.name)
    server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


def _carry(settings: Settings, new: str) -> int:
    """Copy the accounts that exist on LI alone from the database that serves, if it still has them; how many."""
    prefix = settings.li.reserved_prefix
    if not prefix:
        return 0
    with connect(settings.li.owner, read_only=True) as source, connect(evolve(settings.li.owner, database=new)) as target:
        if value(source, "SELECT to_regclass('public.users')") is None:
            return 0
        count = 0
        with target.transaction():
            for name, column in _CARRIED.items():
                # Columns that both have: one of them may be of another schema version.
                shared = [each for each in columns(target, name) if each in columns(source, name)]
                listed = sql.SQL(", ").join(map(sql.Identifier, shared))
                query = sql.SQL("SELECT {} FROM public.{} WHERE starts_with({}, {})").format(
                    listed, sql.Identifier(name), sql.Identifier(column), sql.Literal(f"@{prefix}")
                )
                insert = sql.SQL("INSERT INTO public.{} ({}) VALUES ({})").format(
                    sql.Identifier(name), listed, sql.SQL(", ").join(sql.Placeholder() * len(shared))
                )
                for row in rows(source, query):
                    target.execute(insert, row)
                    count += name == "users"
        return count


def _swap(settings: Settings, server: Connection, serving: str, new: str, old: str) -> None:
    name = settings.subscription.name
    for database in (new, serving):
        with connect(evolve(settings.li.owner, database=database)) as li:
            if subscription.read_subscription(li, name) is not None:
                subscription.disable(li, name)
    try:
        _rename(server, serving, new, old)
    finally:
        # Whichever it is that has this name serves on.
        with connect(settings.li.owner) as li:
            subscription.enable(li, settings)


def _rename(server: Connection, serving: str, new: str, old: str) -> None:
    """Let the databases change places. PostgreSQL renames one only while nobody is connected, and new connections wait meanwhile."""
    renames = [
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(a), sql.Identifier(b)) for a, b in ((serving, old), (new, serving))
    ]
    for attempt in range(_RENAME_ATTEMPTS):
        server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = ANY (%s) AND backend_type = 'client backend'",
            ([serving, new],),
        )
        try:
            with server.transaction():
                for statement in renames:
                    server.execute(statement)
            return
        except psycopg.errors.ObjectInUse:
            if attempt == _RENAME_ATTEMPTS - 1:
                raise Problem(f"somebody stays connected to LI's database {serving}: end that, then run rebuild again") from None
