"""Main's side of the replication: replica identities, the publication, and what the replicating role may read.

Nothing here changes a row of main. The order matters: a published table without a replica identity makes main's own UPDATEs and DELETEs
fail ("cannot update table ... because it does not have a replica identity and publishes updates"), so identities come first, each is looked
at again, and the publication names its tables one by one.
"""

import time
from collections.abc import Callable, Collection

import psycopg
from psycopg import sql

from services.li_sync.postgres import Connection, Problem, rows, table, value
from services.li_sync.tables import FULL, PRIMARY_KEY, Tables, synapse_tables

ALSO_READABLE = ("background_updates", "schema_version")
"""Not published, but compared."""

_LOCK_ATTEMPTS, _LOCK_SECONDS = 30, 2.0

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
_IDENTITIES = """
    SELECT c.relname, c.relreplident, i.relname FROM pg_class c
    LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisreplident
    LEFT JOIN pg_class i ON i.oid = x.indexrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""
# What PostgreSQL asks of an index that is to be an identity (ALTER TABLE ... REPLICA IDENTITY USING INDEX).
_USABLE_INDEXES = """
    SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND x.indisunique AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL
    AND NOT EXISTS (
        SELECT FROM unnest(x.indkey::int2[]) k LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k
        WHERE k = 0 OR NOT a.attnotnull
    )
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
# What a role may read: a whole table, or single columns.
_READABLE = """
    SELECT c.relname, '' FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = %(role)s::regrole
    UNION ALL
    SELECT c.relname, t.attname FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = %(role)s::regrole
"""
_PUBLISHED = """
    SELECT c.relname, array(
        SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs) ORDER BY a.attnum
    )
    FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %s
"""


def read_tables(main: Connection) -> Tables:
    """The part of `tables.toml` that main has. Raises UnknownSchema, or Problem while main is not ready."""
    if value(main, "SELECT to_regclass('public.schema_version')") is None:
        raise Problem("main's database has no Synapse in it yet: start main first")
    return synapse_tables().present([name for (name,) in rows(main, _TABLES)], schema_version(main))


def schema_version(connection: Connection, schema: str = "public") -> int:
    """Synapse's schema version of a database."""
    return int(value(connection, sql.SQL("SELECT version FROM {}").format(table(schema, "schema_version"))))


def check_main(main: Connection) -> None:
    """Raise Problem while main cannot be published from."""
    if main.info.server_version < 170_000:
        raise Problem(f"main runs PostgreSQL {main.info.server_version // 10_000}: slots that survive a failover need 17 or newer")
    if (level := value(main, "SHOW wal_level")) != "logical":
        raise Problem(f"main's wal_level is {level}: set it to logical and restart its PostgreSQL")
    if value(main, "SHOW max_slot_wal_keep_size") == "-1":
        raise Problem(
            "main's max_slot_wal_keep_size is unlimited, so a broken LI would fill main's disk: set a size, e.g. a fifth of the volume"
        )
    if pending := [name for (name,) in rows(main, "SELECT update_name FROM background_updates ORDER BY 1")]:
        raise Problem(
            f"main's Synapse is still at {len(pending)} background update(s), first {pending[0]}: indexes are missing until they are done"
        )


def columns(connection: Connection, name: str, withheld: Collection[str] = ()) -> list[str]:
    """The published columns of a table, in its order."""
    return [column for (column,) in rows(connection, _COLUMNS, (f'public."{name}"',)) if column not in withheld]


def set_identities(main: Connection, tables: Tables) -> int:
    """Give every table that is to be published its replica identity; the number of tables that had another one."""
    for name, names in tables.not_null.items():
        for column in names:
            if not value(
                main, "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", (f'public."{name}"', column)
            ):
                _briefly(main, sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(table("public", name), sql.Identifier(column)))
    usable = {name for (name,) in rows(main, _USABLE_INDEXES)}
    wanted = {name: _available(name, identity, usable, tables.schema_version) for name, identity in tables.published.items()}
    found = _identities(main)
    changes = [name for name, identity in wanted.items() if found[name] != identity]
    for name in changes:
        identity = wanted[name]
        kinds = {FULL: sql.SQL("FULL"), PRIMARY_KEY: sql.SQL("DEFAULT")}
        clause = kinds.get(identity) or sql.SQL("USING INDEX {}").format(sql.Identifier(identity))
        _briefly(main, sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(table("public", name), clause))
    return len(changes)


def check_identities(main: Connection, names: Collection[str]) -> None:
    """Raise Problem unless every one of these tables has an identity: no other may ever be published."""
    found = _identities(main)
    if missing := sorted(name for name in names if found[name] is None):
        raise Problem(f"these tables of main have no replica identity, so that they must not be published: {', '.join(missing)}")


def _identities(main: Connection) -> dict[str, str | None]:
    """Each table's identity as `tables.toml` calls it; None for one that has none."""
    keyed = {name for (name,) in rows(main, "SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid WHERE x.indisprimary")}

    def identity(name: str, kind: str, index: str | None) -> str | None:
        if kind == "f":
            return FULL
        # An index that was an identity and is dropped leaves its table with none.
        return index if kind == "i" else PRIMARY_KEY if kind == "d" and name in keyed else None

    return {name: identity(name, kind, index) for name, kind, index in rows(main, _IDENTITIES)}


def _available(name: str, identity: str, usable: Collection[str], schema_version: int) -> str:
    if identity in {FULL, PRIMARY_KEY} or identity in usable:
        return identity
    if schema_version < synapse_tables().schema_version:
        return FULL  # the index came later; slower, and never wrong
    raise Problem(f"main's table {name} has no usable index {identity}: is Synapse's upgrade complete, and what this program was made for?")


def _briefly(main: Connection, statement: sql.Composed) -> None:
    """Run a statement that locks a table of main: it gives way when it does not get its lock at once, since everybody queues behind it."""
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            with main.transaction():
                main.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{round(_LOCK_SECONDS * 1000)}ms")))
                main.execute(statement)
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if attempt == _LOCK_ATTEMPTS - 1:
                raise Problem(f"main was too busy for: {statement.as_string(main)}. Try again at a quieter time") from None
            time.sleep(_LOCK_SECONDS)


def set_publication(main: Connection, publication: str, tables: Tables) -> bool:
    """Make the publication name exactly the published tables; whether it did not."""
    check_identities(main, tables.published)
    wanted = {
        name: columns(main, name, tables.withheld_columns[name]) if name in tables.withheld_columns else [] for name in tables.published
    }
    found = rows(
        main,
        "SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = %s",
        (publication,),
    )
    if found and (found[0][0] or not found[0][1]):
        raise Problem(
            f"main has a publication {publication} that this program has not made: drop it, or give subscription.name another name"
        )
    if found and dict(rows(main, _PUBLISHED, (publication,))) == wanted:
        return False
    listed = sql.SQL(", ").join(_with_columns(name, names) for name, names in sorted(wanted.items()))
    form = sql.SQL("ALTER PUBLICATION {} SET TABLE {}" if found else "CREATE PUBLICATION {} FOR TABLE {}")
    _briefly(main, form.format(sql.Identifier(publication), listed))
    return True


def _with_columns(name: str, names: Collection[str]) -> sql.Composed:
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL("{} ({})").format(table("public", name), listed) if names else sql.Composed([table("public", name)])


def set_grants(main: Connection, role: str, tables: Tables) -> None:
    """Let the replicating role read what is published and nothing else."""
    if not value(main, "SELECT count(*) FROM pg_roles WHERE rolname = %s AND rolreplication", (role,)):
        raise Problem(f"main has no role {role} with REPLICATION: create it")
    who = sql.Identifier(role)
    wanted = {(name, "") for name in {*tables.published, *ALSO_READABLE} - {*tables.withheld_columns}}
    wanted |= {(name, column) for name, withheld in tables.withheld_columns.items() for column in columns(main, name, withheld)}
    if {*rows(main, _READABLE, {"role": role})} == wanted:
        return
    with main.transaction():
        main.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(who))
        main.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(who))
        whole = sorted({*tables.published, *ALSO_READABLE} - {*tables.withheld_columns})
        main.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.SQL(", ").join(table("public", name) for name in whole), who))
        for name, withheld in tables.withheld_columns.items():
            names = sql.SQL(", ").join(map(sql.Identifier, columns(main, name, withheld)))
            main.execute(sql.SQL("GRANT SELECT ({}) ON {} TO {}").format(names, table("public", name), who))


def publish(main: Connection, publication: str, role: str, step: Callable[[str], None]) -> Tables:
    """All of main's side. Raises Problem or UnknownSchema."""
    check_main(main)
    tables = read_tables(main)
    step("replica identities on main")
    set_identities(main, tables)
    step("publication on main")
    set_publication(main, publication, tables)
    set_grants(main, role, tables)
    return tables
