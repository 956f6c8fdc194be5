"""verify: whether LI has what main has. Positions, counts of rows, and hashes of samples, while both sides go on.

Nothing is ever equal at one moment, so each comparison is of what has had time to arrive: a row of main is looked for on LI after LI has
confirmed main's position, and what differs then is looked at again on both sides. Only what stays different counts.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import frozen
from psycopg import sql

from services.li_sync.postgres import Connection, Problem, connect, rows, table, value
from services.li_sync.publish import columns, schema_version
from services.li_sync.schema import LOCAL
from services.li_sync.settings import Settings
from services.li_sync.subscription import read_slot, read_subscription, wait_for_position
from services.li_sync.tables import Tables, synapse_tables

ROUNDS = 6
"""How often what differs is looked at again, a second apart."""

# A plain index whose columns lead to few rows: the one with the most columns.
_INDEX = """
    SELECT array(
        SELECT a.attname FROM unnest(x.indkey::int2[]) WITH ORDINALITY k (n, o)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.n ORDER BY k.o
    )
    FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
    WHERE c.oid = %s::regclass AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND m.amname = 'btree'
    ORDER BY x.indisprimary DESC, x.indisunique DESC, x.indnkeyatts DESC LIMIT 1
"""


class Different(Problem):
    """LI does not have what main has. `facts`: in which tables."""

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


@frozen
class Comparison:
    """One table on both sides."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]
    """Columns of an index; empty: every row is looked through."""
    exempt: sql.Composable
    """A condition for rows that exist on LI alone."""

    def sample(self, connection: Connection, count: int) -> dict[Any, str]:
        """Rows from anywhere in the table: key to hash."""
        pages = max(1, int(value(connection, "SELECT relpages FROM pg_class WHERE oid = %s::regclass", (f'public."{self.name}"',)) or 1))
        # A page has at least a few rows; TABLESAMPLE takes whole pages.
        percent = min(100.0, 100.0 * count / pages)
        query = sql.SQL(
            "SELECT {key}, md5(row({columns})::text) FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE NOT ({exempt}) LIMIT {count}"
        )
        return self._read(connection, query.format(**self._parts(), percent=sql.Literal(percent), count=sql.Literal(count)))

    def newest(self, connection: Connection, count: int) -> dict[Any, str]:
        """Rows at the end of the key, for tables whose key grows."""
        if not self.key:
            return {}
        last = sql.SQL("{} DESC NULLS LAST").format(sql.Identifier(self.key[0]))
        query = sql.SQL("SELECT {key}, md5(row({columns})::text) FROM {table} WHERE NOT ({exempt}) ORDER BY {last} LIMIT {count}")
        return self._read(connection, query.format(**self._parts(), last=last, count=sql.Literal(count)))

    def find(self, connection: Connection, wanted: Collection[Any]) -> set[tuple[Any, str]]:
        """The rows with these keys, as pairs of key and hash."""
        found: set[tuple[Any, str]] = set()
        for key in wanted:
            terms = [
                sql.SQL("{} IS NULL").format(sql.Identifier(column))
                if part is None
                else sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(part))
                for column, part in zip(self.key or self.columns, key, strict=True)
            ]
            query = sql.SQL("SELECT md5(row({columns})::text) FROM {table} WHERE {terms}").format(
                **self._parts(), terms=sql.SQL(" AND ").join(terms)
            )
            found |= {(key, hashed) for (hashed,) in rows(connection, query)}
        return found

    def count(self, connection: Connection) -> int:
        """All rows."""
        return int(value(connection, sql.SQL("SELECT count(*) FROM {table} WHERE NOT ({exempt})").format(**self._parts())))

    def estimate(self, connection: Connection) -> int:
        """How many rows the planner believes in."""
        return int(
            value(connection, "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass", (f'public."{self.name}"',))
        )

    def _parts(self) -> dict[str, Any]:
        def listed(names: Sequence[str]) -> sql.Composed:
            return sql.SQL(", ").join(map(sql.Identifier, names))

        return {
            "key": listed(self.key or self.columns),
            "columns": listed(self.columns),
            "table": table("public", self.name),
            "exempt": self.exempt,
        }

    def _read(self, connection: Connection, query: sql.Composed) -> dict[Any, str]:
        # Where a key leads to several rows, any one of them is looked for.
        return {tuple(row[:-1]): row[-1] for row in rows(connection, query)}


def comparisons(main: Connection, tables: Tables, reserved_prefix: str) -> list[Comparison]:
    """Every published table."""
    found = []
    for name in sorted(tables.published):
        names = columns(main, name, tables.withheld_columns.get(name, ()))
        key = value(main, _INDEX, (f'public."{name}"',)) or []
        exempt: sql.Composable = sql.SQL("false")
        if reserved_prefix and name in {"users", "profiles"}:
            # `profiles.user_id` is the localpart; `full_user_id` and `users.name` are whole.
            column = "full_user_id" if name == "profiles" else "name"
            exempt = sql.SQL("starts_with({}, {})").format(sql.Identifier(column), sql.Literal(f"@{reserved_prefix}"))
        found.append(Comparison(name, names, key, exempt))
    return found


def verify(settings: Settings, step: Callable[[str], None]) -> Mapping[str, Any]:
    """Compare both sides. Raises Different, with the tables, or Problem where LI does not get as far as main."""
    limits = settings.verify
    with (
        connect(settings.main.replication, statement_seconds=settings.statement_seconds, read_only=True) as main,
        connect(settings.li.owner, statement_seconds=settings.statement_seconds, read_only=True) as li,
    ):
        found = read_subscription(li, settings.subscription.name)
        if found is None or found.slot is None:
            raise Problem(f"LI has no subscription {settings.subscription.name}: run prepare")
        if not found.enabled:
            raise Problem("LI's subscription is off: see what `watch` says of it")
        if found.tables_copying:
            raise Problem(f"{found.tables_copying} of {found.tables} tables are not copied yet")
        here, there = schema_version(li, LOCAL), schema_version(main)
        if here != there:
            raise Problem(f"LI's schema is version {here}, main's {there}: run rebuild")

        def arrive() -> tuple[str, float]:
            position = str(value(main, "SELECT pg_current_wal_insert_lsn()::text"))
            return position, wait_for_position(main, found.slot or "", position, limits.seconds)

        step("waiting for main's position")
        position, delay = arrive()
        present = synapse_tables().present(
            [
                name
                for (name,) in rows(
                    main, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
                )
            ],
            there,
        )
        counted, sampled, different = 0, 0, {}
        for comparison in comparisons(main, present, settings.li.reserved_prefix):
            step(f"comparing {comparison.name}")
            row_count, problem = _compare(comparison, main, li, settings, arrive)
            sampled += row_count
            counted += comparison.estimate(main) <= limits.count_up_to
            if problem:
                different[comparison.name] = problem
        slot = read_slot(main, found.slot)
        facts = {
            "main_lsn": position,
            "delay_seconds": round(delay, 3),
            "confirmed_lsn": slot.confirmed if slot else None,
            "schema_version": there,
            "tables": len(present.published),
            "tables_counted": counted,
            "rows_sampled": sampled,
            "different": different,
        }
    if different:
        raise Different("LI differs from main in " + "; ".join(f"{name}: {what}" for name, what in different.items()), facts)
    return facts


def _compare(
    comparison: Comparison, main: Connection, li: Connection, settings: Settings, arrive: Callable[[], tuple[str, float]]
) -> tuple[int, str]:
    """How many rows were compared, and what is different; empty if nothing is."""
    limits, problems = settings.verify, []
    compared = 0
    for name, ours, theirs in (("missing on LI or different", main, li), ("on LI alone", li, main)):
        rows_of = comparison.sample(ours, limits.sample_rows) | comparison.newest(ours, limits.sample_rows // 4)
        compared += len(rows_of)
        open_: Collection[Any] = rows_of
        for attempt in range(ROUNDS):
            if attempt:
                time.sleep(1)
            arrive()
            there = comparison.find(theirs, open_)
            # Those that have gone or changed meanwhile are looked for as they are.
            open_ = (
                {key for key, hashed in comparison.find(ours, open_) if (key, hashed) not in there}
                if attempt
                else {key for key in open_ if (key, rows_of[key]) not in there}
            )
            if not open_:
                break
        if open_:
            problems.append(f"{len(open_)} of {len(rows_of)} rows {name}")
    if comparison.estimate(main) <= limits.count_up_to and (count := _counts(comparison, main, li, arrive)):
        problems.append(count)
    return compared, ", ".join(problems)


def _counts(comparison: Comparison, main: Connection, li: Connection, arrive: Callable[[], tuple[str, float]]) -> str:
    for attempt in range(ROUNDS):
        if attempt:
            time.sleep(1)
        before = comparison.count(main)
        arrive()
        here = comparison.count(li)
        after = comparison.count(main)
        # What LI has lies between what main had and what it has.
        if min(before, after) <= here <= max(before, after):
            return ""
    return f"{here} rows on LI, {after} on main"
