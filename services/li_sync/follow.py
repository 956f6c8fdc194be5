"""follow: tells LI's Synapse what the replication has brought, so that an open sync on LI shows it within a second, without a restart.

A worker of Synapse learns from Redis how far each stream is and which caches no longer hold. On LI nobody says so, since the writers are on
main. The feeder says it in their place: it reads two replicated tables, and publishes on LI's own Redis. It writes to no database.

What it relies on, all internal to Synapse, so that a new version is held to it by tests/live/test_li_sync.py:

* `POSITION <stream> <writer> <new> <new>`: with the true previous position Synapse believes that nothing was written in between, and fetches
  nothing (replication/tcp/handler.py, `_process_position`).
* A position is what main has put into `stream_positions`, never the highest row: a writer's transactions end in any order, and the position
  is where all of them have (id_generators.py). It is replicated in the order of commits, so its rows are there when it is.
* The rows of `cache_invalidation_stream_by_instance` are sent too, as one writer's with a counter that rises: much of what /state, sliding
  sync and the admin API read is cached with no stream behind it.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import redis
from attrs import define, field, frozen
from prometheus_client import Counter, Gauge, start_http_server

from services.li_sync.postgres import Connection, connect, rows, value
from services.li_sync.settings import Follow
from services.li_sync.tables import Tables, synapse_tables

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


@define
class Feed:
    """What has been said, and so what has yet to be."""

    tables: Tables
    main_process: str
    counter: int
    """Of cache rows, under our own name. It rises over restarts, or they would be taken for old ones."""
    highest: int = 0
    said_rows: dict[int, int] = field(factory=dict)
    said_positions: dict[tuple[str, str], int] = field(factory=dict)
    unknown: set[str] = field(factory=set)

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

    def positions(self, found: Sequence[tuple[str, str, int]], *, all_of_them: bool) -> Iterator[str]:
        """The messages for positions that have changed, or for all."""
        for name, instance, position in sorted(found):
            stream = self.tables.streams.get(name)
            if stream is None:
                if name not in self.tables.local_streams:
                    self.unknown.add(name)
                continue
            # LI's own main process has the name of main's, and would take the message for its own.
            key = (stream.stream, self.main_process if instance == "master" else instance)
            # Ids of backfilled events fall, and are positive where processes speak of them.
            if self.said_positions.get(key) != abs(position) or all_of_them:
                self.said_positions[key] = abs(position)
                yield f"POSITION {key[0]} {key[1]} {abs(position)} {abs(position)}"

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
        client.pubsub(ignore_subscribe_messages=True) as heard,
    ):
        if not value(database, "SELECT pg_try_advisory_lock(%s, %s)", _LOCK):
            print("waits: another feeder is at work", flush=True)
            stop.wait(_PAUSE_SECONDS)
            return
        heard.subscribe(settings.server_name)
        # Microseconds of the clock: more rows a second than that there cannot be.
        feed = Feed(synapse_tables(), settings.main_process, counter=time.time_ns() // 1000)
        feed.highest = value(database, "SELECT coalesce(max(stream_id), 0) FROM public.cache_invalidation_stream_by_instance")
        STARTS.inc()
        print(f"follows, from cache row {feed.highest}", flush=True)
        _say(client, settings.server_name, list(feed.begin()))
        said_all = 0.0
        while not stop.is_set():
            again = time.monotonic() - said_all > _AGAIN_SECONDS
            # Positions are read first and said last: the caches of the rows that they cover are dropped before.
            positions = _positions(database)
            messages = list(feed.rows(_rows(database, feed.highest)))
            messages += feed.positions(positions, all_of_them=again)
            if again:
                messages += feed.begin()
                said_all = time.monotonic()
            _say(client, settings.server_name, messages)
            if again:
                feed.forget_rows(time.time() - _AGAIN_ROWS_SECONDS)
            POLLED.set(time.time())
            UNKNOWN.set(len(feed.unknown))
            for (stream, writer), position in feed.said_positions.items():
                POSITIONS.labels(stream, writer).set(position)
            if _asked(heard, settings.interval_seconds, stop):
                said_all = 0.0
                feed.forget_rows()


def _positions(database: Connection) -> list[tuple[str, str, int]]:
    return [
        (str(a), str(b), int(c)) for a, b, c in rows(database, "SELECT stream_name, instance_name, stream_id FROM public.stream_positions")
    ]


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
