"""prepare: everything that the replication needs, on both sides, in the order that harms nobody. A second run changes nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from services.li_sync import subscription
from services.li_sync.postgres import Connection, Problem, connect, value
from services.li_sync.publish import publish, schema_version
from services.li_sync.schema import LOCAL, dump_schema, is_made, make_schema, set_rights
from services.li_sync.settings import Settings
from services.li_sync.tables import Tables


def prepare(settings: Settings, step: Callable[[str], None], check: Callable[[], None]) -> Mapping[str, Any]:
    """Main's side, then LI's, until every table is copied. Raises Problem or UnknownSchema."""
    with connect(settings.main.owner, statement_seconds=settings.statement_seconds) as main:
        tables = publish(main, settings.subscription.name, settings.main.replication.user, step)
        return fill(settings, settings.li.owner.database, main, tables, step, check)


def fill(
    settings: Settings, database: str, owner: Connection, tables: Tables, step: Callable[[str], None], check: Callable[[], None]
) -> Mapping[str, Any]:
    """LI's side in one database: schema, rights, subscription, the copy. `owner` is a connection to main as the owner of its tables."""
    name, seconds = settings.subscription.name, settings.statement_seconds
    with (
        connect(evolve(settings.li.owner, database=database), statement_seconds=seconds) as li,
        connect(settings.main.replication, statement_seconds=seconds) as main,
    ):
        if li.info.server_version // 10_000 < main.info.server_version // 10_000:
            raise Problem("LI's PostgreSQL is older than main's: upgrade it first")
        if not is_made(li):
            step("schema of LI")
            make_schema(li, owner, dump_schema(settings.pg_dump, settings.main.owner), tables)
        here, there = schema_version(li, LOCAL), schema_version(owner)
        if here != there:
            raise Problem(f"LI's schema is version {here}, main's {there}: run rebuild")
        with li.transaction():
            set_rights(li, tables, settings)
        orphans = subscription.drop_orphans(li, main, name)
        found = subscription.read_subscription(li, name)
        if found is None:
            step("subscription")
            subscription.create(li, main, settings)
        elif found.working:
            subscription.refresh_publication(li, name)
        subscription.wait_copied(li, settings, step, check)
        found = subscription.read_subscription(li, name)
    # Another connection: hours may have passed, in which main's PostgreSQL may have restarted.
    with connect(settings.main.replication, statement_seconds=seconds, read_only=True) as main:
        position = value(main, "SELECT pg_current_wal_lsn()::text")
    return {
        "schema_version": there,
        "published_tables": len(tables.published),
        "slot": found.slot if found else None,
        "main_lsn": position,
        "orphaned_slots_dropped": orphans,
    }
