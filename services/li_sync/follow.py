"""follow: tells LI's Synapse what the replication has brought, so that an open sync on LI shows it within a second, without a restart.

A worker of Synapse learns from Redis how far each stream is and which caches no longer hold. On LI nobody says so, since the writers are on
main. The feeder says it in their place: it reads two replicated tables, and publishes on LI's own Redis. It writes to no database.

What it relies on, all internal to Synapse, so that a new version is held to it by tests/live/test_li_sync.py:

* `POSITION <stream> <writer> <new> <new>`: with the true previous position Synapse believes that nothing was written in between, and fetches
  nothing (replication/tcp/handler.py, `_process_position`).
* A position is what main has put into `stream_positions`, never the highest row: a writer's transactions end in any order, and the position
  is where all of them have (id_generators.py). It is replicated in the order of commits, so its rows are there when it is.
* But a writer's position is also raised to ids of *other* writers, when it hears of them. Said as it stands, LI's Synapse would take such an id
  for done, and fetch nothing when its own writer says it: the event would never be shown. So a writer's position is said as the last id of its own
  up to there.
* The rows of `cache_invalidation_stream_by_instance` are sent too, as one writer's with a counter that rises: much of what /state, sliding
  sync and the admin API read is cached with no stream behind it.
"""

import json
import threading
import time
from collections import Counter as Counts
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import redis
from attrs import define, field, frozen
from prometheus_client import Counter, Gauge, start_http_server
from psycopg import sql

from services.li_sync.postgres import Connection, connect, rows, table, value
from services.li_sync.settings import Follow
from services.li_sync.tables import Stream, Tables, synapse_tables

WRITER = "li-feeder"
_LOCK = (0x4C49, 100)
_LOOK_BACK = 1000
"""A slower transaction's row comes later with a lower id: so many ids before the highest are read again."""
_REMEMBERED = 20_000
_AGAIN_SECONDS = 10.0
"""How often everything is said once more, for a process that was not listening."""
_AGAIN_ROWS_SECONDS = 25.0
_PAUSE_SECONDS = 1.0
_BATCH = 5000
_OWN_WITHIN = 100_000
"""How far below a writer's position its own last id is looked for. It is the next one but for what others have written at that moment."""

POLLED = Gauge("li_follow_last_poll_timestamp_seconds", "When LI's database was last read")
RECEIVERS = Gauge("li_follow_receivers", "Processes that heard the last message; 0: LI's Synapse does not follow")
POSITIONS = Gauge("li_follow_stream_position", "The last position that was said", ["stream", "writer"])
SAID = Counter("li_follow_messages", "Messages that were published", ["kind"])
STARTS = Counter("li_follow_connections", "Times that the feeder has connected anew")
UNKNOWN = Gauge("li_follow_unknown_streams", "Streams of main that no list names: this program is not made for its Synapse")


@frozen
class Row:
    """A cache that main has invalidated."""

    id: int
    function: str
    keys: Sequence[Any] | None
    timestamp: int | None
    """Unix milliseconds."""


@frozen
class Position:
    """How far a writer of a stream is: its own last id, as processes speak of it (positive)."""

    stream: str
    writer: str
    id: int


@define
class Positions:
    """Reads how far every writer is."""

    tables: Tables
    at: dict[tuple[str, str], int] = field(factory=dict)
    """What `stream_positions` had when it was read last."""
    own: dict[tuple[str, str], int] = field(factory=dict)
    unknown: set[str] = field(factory=set)

    def read(self, database: Connection) -> list[Position]:
        """All writers of the streams that main writes, in a steady order."""
        found = rows(database, "SELECT stream_name, instance_name, stream_id FROM public.stream_positions")
        writers = Counts(name for name, _, _ in found)
        for name, writer, raw in found:
            stream = self.tables.streams.get(name)
            if stream is None:
                if name not in self.tables.local_streams:
                    self.unknown.add(name)
                continue
            at, key = abs(raw), (name, writer)
            if self.at.get(key) != at:
                self.at[key] = at
                # The position of a stream's only writer is its own. (Not every row says who wrote it: tags.py, `_update_revision_txn`.)
                low = self.own.get(key, max(0, at - _OWN_WITHIN))
                own = at if writers[name] == 1 else value(database, _own_id(stream), {"writer": writer, "low": low, "at": at})
                # One that has written nothing that near has long been at rest: all of its ids are done.
                self.own[key] = int(own) if own is not None else self.own.get(key, at)
        return [Position(self.tables.streams[name].stream, writer, own) for (name, writer), own in sorted(self.own.items())]


def _own_id(stream: Stream) -> sql.Composed:
    """The last id of one writer above `low`, up to `at`."""
    form = (
        "SELECT max(-{id}) AS id FROM {table} WHERE instance_name = %(writer)s AND {id} >= -%(at)s AND {id} < -%(low)s"
        if stream.falling
        else "SELECT max({id}) AS id FROM {table} WHERE instance_name = %(writer)s AND {id} > %(low)s AND {id} <= %(at)s"
    )
    parts = [sql.SQL(form).format(id=sql.Identifier(column), table=table("public", name)) for name, column in sorted(stream.rows.items())]
    return sql.SQL("SELECT max(id) FROM ({}) AS of_each_table").format(sql.SQL(" UNION ALL ").join(parts))


@define
class Feed:
    """What has been said, and so what has yet to be."""

    main_process: str
    counter: int
    """Of cache rows, under our own name. It rises over restarts, or they would be taken for old ones."""
    highest: int = 0
    said_rows: dict[int, int] = field(factory=dict)
    said_positions: dict[tuple[str, str], int] = field(factory=dict)

    def begin(self) -> Iterator[str]:
        """What is said before anything else, and again for a process that has just begun to listen."""
        yield f"POSITION caches {WRITER} {self.counter} {self.counter}"

    def rows(self, found: Sequence[Row]) -> Iterator[str]:
        """The messages for rows that have not been sent."""
        for row in found:
            self.highest = max(self.highest, row.id)
            if row.id not in self.said_rows:
                self.said_rows[row.id] = row.timestamp or 0
                self.counter += 1
                yield f"RDATA caches {WRITER} {self.counter} " + json.dumps([row.function, row.keys, row.timestamp])
        while len(self.said_rows) > _REMEMBERED:
            del self.said_rows[next(iter(self.said_rows))]

    def positions(self, found: Sequence[Position], *, all_of_them: bool) -> Iterator[str]:
        """The messages for positions that have changed, or for all. `found` has each writer's own last id."""
        for position in found:
            # LI's own main process has the name of main's, and would take the message for its own.
            key = (position.stream, self.main_process if position.writer == "master" else position.writer)
            if self.said_positions.get(key) != position.id or all_of_them:
                self.said_positions[key] = position.id
                yield f"POSITION {key[0]} {key[1]} {position.id} {position.id}"

    def forget_rows(self, since: float | None = None) -> None:
        """Let rows be sent once more: those of the time since `since` (Unix seconds), or all. It does no harm."""
        for id_ in [id_ for id_, timestamp in self.said_rows.items() if since is None or timestamp > since * 1000]:
            del self.said_rows[id_]


def follow(settings: Follow, stop: threading.Event) -> None:
    """Feed until `stop` is set. Whatever fails is begun anew after a second."""
    start_http_server(settings.metrics_port)
    while not stop.is_set():
        try:
            _session(settings, stop)
        except (psycopg.Error, redis.RedisError, OSError) as error:
            # Not the error's text: a server may quote what it was sent.
            print(f"begins anew: {type(error).__name__}", flush=True)
            stop.wait(_PAUSE_SECONDS)


def _session(settings: Follow, stop: threading.Event) -> None:
    server = settings.redis
    client = redis.Redis(
        server.host,
        server.port,
        username=server.username,
        password=server.password(),
        socket_timeout=5,
        socket_connect_timeout=5,
        decode_responses=True,
    )
    with (
        connect(settings.database, statement_seconds=10, read_only=True) as database,
        client,
        client.pubsub(ignore_subscribe_messages=True) as heard,  # type: ignore[no-untyped-call]
    ):
        if not value(database, "SELECT pg_try_advisory_lock(%s, %s)", _LOCK):
            print("waits: another feeder is at work", flush=True)
            stop.wait(_PAUSE_SECONDS)
            return
        heard.subscribe(settings.server_name)
        # Microseconds of the clock: more rows a second than that there cannot be.
        feed, writers = Feed(settings.main_process, counter=time.time_ns() // 1000), Positions(synapse_tables())
        feed.highest = value(database, "SELECT coalesce(max(stream_id), 0) FROM public.cache_invalidation_stream_by_instance")
        STARTS.inc()
        print(f"follows, from cache row {feed.highest}", flush=True)
        _say(client, settings.server_name, list(feed.begin()))
        said_all = 0.0
        while not stop.is_set():
            again = time.monotonic() - said_all > _AGAIN_SECONDS
            # Positions are read first and said last: the caches of the rows that they cover are dropped before.
            positions = writers.read(database)
            messages = list(feed.rows(_rows(database, feed.highest)))
            messages += feed.positions(positions, all_of_them=again)
            if again:
                messages += feed.begin()
                said_all = time.monotonic()
            _say(client, settings.server_name, messages)
            if again:
                feed.forget_rows(time.time() - _AGAIN_ROWS_SECONDS)
            POLLED.set(time.time())
            UNKNOWN.set(len(writers.unknown))
            for (stream, writer), position in feed.said_positions.items():
                POSITIONS.labels(stream, writer).set(position)
            if _asked(heard, settings.interval_seconds, stop):
                said_all = 0.0
                feed.forget_rows()


def _rows(database: Connection, highest: int) -> list[Row]:
    query = """
        SELECT stream_id, cache_func, keys, invalidation_ts FROM public.cache_invalidation_stream_by_instance
        WHERE stream_id > %s ORDER BY stream_id LIMIT %s
    """
    return [Row(*row) for row in rows(database, query, (highest - _LOOK_BACK, _BATCH))]


def _say(client: "redis.Redis", channel: str, messages: Sequence[str]) -> None:
    if not messages:
        return
    pipeline = client.pipeline(transaction=False)
    for message in messages:
        pipeline.publish(channel, message)
        SAID.labels(message.split(" ", 1)[0].lower()).inc()
    # The feeder itself listens too.
    RECEIVERS.set(max(0, int(pipeline.execute()[-1]) - 1))


def _asked(heard: Any, seconds: float, stop: threading.Event) -> bool:
    """Wait; whether a process has begun to listen, and wants to be told everything."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not stop.is_set():
        message: Mapping[str, Any] | None = heard.get_message(timeout=left)
        if message and str(message.get("data", "")).startswith("REPLICATE"):
            return True
    return False
