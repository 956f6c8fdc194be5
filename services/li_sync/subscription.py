"""The subscription on LI and its slot on main: how they are, made, enabled again, dropped."""

import time
from collections.abc import Callable

import psycopg
from attrs import evolve, frozen
from psycopg import sql
from psycopg.conninfo import make_conninfo

from services.li_sync.postgres import Connection, Problem, connect, rows, value
from services.li_sync.settings import Settings

SWAPPING = "li_sync has disabled this for a swap of databases"
"""The comment of a subscription that any later run may enable."""

_STATE = """
    SELECT s.subenabled, s.subslotname, coalesce(obj_description(s.oid, 'pg_subscription'), ''),
        EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL AND w.worker_type = 'apply'),
        coalesce(t.apply_error_count, 0), coalesce(t.sync_error_count, 0),
        coalesce(t.confl_insert_exists + t.confl_update_exists + t.confl_multiple_unique_conflicts, 0),
        (SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r'),
        (SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid)
    FROM pg_subscription s LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid
    WHERE s.subname = %s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SLOT = """
    SELECT active, coalesce(wal_status, ''), coalesce(safe_wal_size, -1), confirmed_flush_lsn::text,
        coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint,
        coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, failover
    FROM pg_replication_slots WHERE slot_name = %s
"""
# CREATE and ALTER SUBSCRIPTION take the password in their text. Called with it as a parameter, nothing of it is in the server's log or in
# an error's context, where a failed statement would be.
_RUN = """
    CREATE OR REPLACE FUNCTION pg_temp.run(statement text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION '%', SQLERRM USING ERRCODE = SQLSTATE;
    END $$
"""


@frozen
class Subscription:
    """A subscription as LI's PostgreSQL has it."""

    enabled: bool
    slot: str | None
    comment: str
    working: bool
    """Whether its worker runs."""
    apply_errors: int
    copy_errors: int
    conflicts: int
    """Rows that could not be written because LI has one with the same key: something else than the replication has written."""
    tables_copying: int
    tables: int


@frozen
class Slot:
    """A replication slot as main has it. Sizes in bytes."""

    active: bool
    wal_status: str
    """`reserved`, `extended`, `unreserved` or `lost`."""
    safe_bytes: int
    """How much main may still write before the slot is lost; -1: no limit, or lost."""
    confirmed: str | None
    lag_bytes: int
    """What LI has not confirmed."""
    kept_bytes: int
    """What main keeps for it."""
    failover: bool

    @property
    def lost(self) -> bool:
        """Whether main has thrown away what the slot needs. Only a rebuild helps."""
        return self.wal_status == "lost"


def read_subscription(li: Connection, name: str) -> Subscription | None:
    """The subscription of that name in this database."""
    found = rows(li, _STATE, (name,))
    return Subscription(*found[0]) if found else None


def read_slot(main: Connection, slot: str) -> Slot | None:
    """The slot of that name."""
    found = rows(main, _SLOT, (slot,))
    return Slot(*found[0]) if found else None


def connection_text(settings: Settings) -> str:
    """How LI's PostgreSQL reaches main. It holds the password."""
    database = settings.main.replication
    if settings.subscription.sslrootcert is not None:
        database = evolve(database, sslrootcert=settings.subscription.sslrootcert)
    return make_conninfo(
        **database.parameters(),
        connect_timeout="5",
        keepalives_idle="10",
        keepalives_interval="5",
        keepalives_count="3",
        application_name=settings.subscription.name,
    )


def create(li: Connection, main: Connection, settings: Settings) -> str:
    """Make a slot and the subscription that uses it, which begins to copy all tables; the slot's name."""
    name = settings.subscription.name
    slot = f"{name}_{time.time_ns() // 1_000_000}"
    main.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', false, false, %s)", (slot, settings.subscription.failover))
    options = "create_slot = false, slot_name = {slot}, copy_data = true, disable_on_error = true, origin = none, failover = {failover}"
    _run(
        li,
        sql.SQL("CREATE SUBSCRIPTION {name} CONNECTION {connection} PUBLICATION {name} WITH (" + options + ")").format(
            name=sql.Identifier(name),
            connection=sql.Literal(connection_text(settings)),
            slot=sql.Literal(slot),
            failover=sql.Literal(settings.subscription.failover),
        ),
    )
    return slot


def set_connection(li: Connection, settings: Settings) -> None:
    """Let the subscription use the address and password that the settings have."""
    name, connection = sql.Identifier(settings.subscription.name), sql.Literal(connection_text(settings))
    _run(li, sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(name, connection))


def _run(li: Connection, statement: sql.Composed) -> None:
    text = statement.as_string(li)
    li.execute(_RUN)
    try:
        li.execute("SELECT pg_temp.run(%s)", (text,))
    except psycopg.Error as error:
        raise Problem(f"LI's PostgreSQL cannot subscribe to main: {error.diag.message_primary or type(error).__name__}") from None


def refresh_publication(li: Connection, name: str) -> None:
    """Let the subscription take up tables that were added to the publication."""
    li.execute(sql.SQL("ALTER SUBSCRIPTION {} REFRESH PUBLICATION").format(sql.Identifier(name)))


def enable(li: Connection, settings: Settings) -> None:
    """Let the subscription go on, with the address and the password that the settings have."""
    name = settings.subscription.name
    set_connection(li, settings)
    with li.transaction():
        li.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))
        li.execute(sql.SQL("COMMENT ON SUBSCRIPTION {} IS NULL").format(sql.Identifier(name)))


def disable(li: Connection, name: str, seconds: float = 60) -> None:
    """Stop the subscription for a swap, and wait until its workers have gone. Raises Problem when they do not."""
    with li.transaction():
        li.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name)))
        li.execute(sql.SQL("COMMENT ON SUBSCRIPTION {} IS {}").format(sql.Identifier(name), sql.Literal(SWAPPING)))
    deadline = time.monotonic() + seconds
    workers = (
        "SELECT count(*) FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL AND subid = ("
        "SELECT oid FROM pg_subscription WHERE subname = %s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    while value(li, workers, (name, name)):
        if time.monotonic() > deadline:
            raise Problem(f"the workers of LI's subscription {name} do not end")
        time.sleep(0.1)


def drop(li: Connection, name: str) -> None:
    """Drop the subscription and leave its slot, which `drop_orphans` takes: so it works without main, too."""
    who = sql.Identifier(name)
    if read_subscription(li, name) is not None:
        disable(li, name)
        li.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(who))
        li.execute(sql.SQL("DROP SUBSCRIPTION {}").format(who))


def drop_orphans(li: Connection, main: Connection, name: str) -> list[str]:
    """Drop the slots on main that no subscription of LI uses: what a run that was killed has left would keep main's log for ever.

    Only slots that this program (`<name>_<milliseconds>`) or LI's own PostgreSQL (`pg_<subscription>_sync_<table>_<system>`) has made.
    """
    used = {slot for (slot,) in rows(li, "SELECT subslotname FROM pg_subscription WHERE subslotname IS NOT NULL")}
    numbers = {str(oid) for (oid,) in rows(li, "SELECT oid FROM pg_subscription")}
    system = str(value(li, "SELECT system_identifier FROM pg_control_system()"))
    dropped = []
    for slot, active in rows(main, "SELECT slot_name, active FROM pg_replication_slots WHERE slot_type = 'logical'"):
        own = slot.startswith(f"{name}_") and slot.removeprefix(f"{name}_").isdigit() and slot not in used
        copying = slot.startswith("pg_") and slot.endswith(f"_{system}") and slot.split("_")[1] not in numbers
        if (own or copying) and not active:
            main.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            dropped.append(slot)
    return dropped


def wait_copied(li: Connection, settings: Settings, step: Callable[[str], None], check: Callable[[], None]) -> None:
    """Wait until every table is copied. Raises Problem when that fails or takes too long."""
    name, deadline = settings.subscription.name, time.monotonic() + settings.subscription.copy_seconds
    attempts, said = 0, -1
    while True:
        check()
        found = read_subscription(li, name)
        if found is None:
            raise Problem(f"LI's subscription {name} is gone")
        if not found.enabled:
            # During the copy an interruption is tried a few times; what fails by itself fails again.
            attempts += 1
            if attempts > 5:
                raise Problem(
                    f"the copy to LI fails ({found.copy_errors} errors, {found.apply_errors} of applying): see the log of LI's PostgreSQL"
                )
            time.sleep(min(2**attempts, 30))
            enable(li, settings)
        if found.tables and not found.tables_copying:
            return
        if found.tables_copying != said:
            said = found.tables_copying
            step(f"copying: {said} of {found.tables} tables are not whole yet")
        if time.monotonic() > deadline:
            raise Problem(f"the copy to LI took longer than subscription.copy_seconds ({settings.subscription.copy_seconds:.0f} s)")
        time.sleep(0.5)


def wait_for_position(main: Connection, slot: str, position: str, seconds: float) -> float:
    """Wait until LI has confirmed a position of main's log; how long that took. Raises Problem."""
    begin = time.monotonic()
    while not value(main, "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s", (position, slot)):
        if time.monotonic() > begin + seconds:
            raise Problem(
                f"LI has not reached main's position {position} within {seconds:.0f} s: see what `watch` says of the subscription"
            )
        time.sleep(0.05)
    return time.monotonic() - begin


def reachable(settings: Settings) -> bool:
    """Whether main answers."""
    try:
        with connect(settings.main.replication, statement_seconds=5, read_only=True) as main:
            return bool(value(main, "SELECT true"))
    except psycopg.Error:
        return False
