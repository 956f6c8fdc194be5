"""The settings of li_sync, as services/li_sync/README.md lists them, and where its secrets are mounted."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql.component import Database
from kit.network import Endpoint
from li_instance.options import SyncOptions
from li_instance.synapse.configuration import MAIN_PROCESS, RESERVED_PREFIX

STATE = "/var/lib/li-sync"
AUTHORITY = "/secrets/database-ca/ca.crt"
FOLLOW_METRICS_PORT = 9108
WATCH_SECONDS = 10
"""How often it is looked whether the replication is on. No choice: it is what brings it back after a failover of main."""
_DAY = 86_400
_AGES = {"d": _DAY, "w": 7 * _DAY, "y": 365 * _DAY}
Config = dict[str, Any]


@frozen
class SyncSpec:
    """What it must reach: main's database as two roles, the instance's own as three, both buckets, and the Synapse that it keeps current.

    `publisher`, `replication`: main's database, seen from another namespace. `source`, `mirror`: main's bucket of media and its copy.
    `keep_deleted_media`: how long that has what main deletes.
    """

    server_name: str
    publisher: Database
    replication: Database
    owner: Database
    synapse: Database
    follower: Database
    reader: Database
    source: Bucket
    mirror: Bucket
    redis: Endpoint
    redis_secret: str
    health: Endpoint
    workload: str
    options: SyncOptions
    keep_deleted_media: str


def intervals(options: SyncOptions) -> Mapping[str, int]:
    """The seconds between two runs of each task that comes by itself."""
    tasks = ("prepare", "verify", "mirror_new_media", "mirror_media")
    nightly = {} if options.refresh == "never" else {"refresh": _DAY}
    return {"watch": WATCH_SECONDS, **{task: getattr(options, task).seconds for task in tasks}, **nightly}


def settings(spec: SyncSpec, broker: Endpoint, namespace: str) -> Config:
    """The one file that all of its programs read."""
    elsewhere = {"sslmode": "require", "channel_binding": "require"}
    here = {"sslrootcert": AUTHORITY}
    return {
        "state": STATE,
        "broker": {"host": broker.host, "port": broker.port, "password_file": "/secrets/broker/password"},
        "main": {
            "owner": _database(spec.publisher, "main/publisher") | elsewhere,
            "replication": _database(spec.replication, "main/replication") | elsewhere,
        },
        "li": {
            "owner": _database(spec.owner, "database/password") | here,
            "synapse_role": spec.synapse.user,
            "follower_role": spec.follower.user,
            "reader_role": spec.reader.user,
            "reserved_prefix": RESERVED_PREFIX,
        },
        "follow": {
            "database": _database(spec.follower, "follower/password") | here,
            "redis": {"host": spec.redis.host, "port": spec.redis.port, "password_file": "/secrets/redis/password"},
            "server_name": spec.server_name,
            "main_process": MAIN_PROCESS,
            "metrics_port": FOLLOW_METRICS_PORT,
        },
        "media": {
            "source": _bucket(spec.source, "source"),
            "target": _bucket(spec.mirror, "mirror"),
            "keep_deleted_seconds": _seconds(spec.keep_deleted_media),
        },
        "schedule": {**intervals(spec.options), "refresh": _cron(spec.options.refresh)},
        "refresh": {
            "health": f"http://{spec.health.address}/health",
            "workload": {"namespace": namespace, "kind": "deployments", "name": spec.workload},
        },
    }


def _seconds(age: str) -> int | None:
    return None if age == "forever" else int(age[:-1]) * _AGES[age[-1]]


def _cron(time: str) -> str | None:
    """A time of each day in cron's five fields."""
    hour, _, minute = time.partition(":")
    return None if time == "never" else f"{int(minute)} {int(hour)} * * *"


def _database(database: Database, file: str) -> Config:
    return {
        "host": database.host,
        "port": database.port,
        "database": database.name,
        "user": database.user,
        "password_file": f"/secrets/{file}",
    }


def _bucket(bucket: Bucket, secret: str) -> Config:
    found = {"endpoint": bucket.endpoint, "name": bucket.name, "region": bucket.region, "keys": f"/secrets/{secret}"}
    return found | ({"ca_file": f"/secrets/{secret}-ca/ca.crt"} if bucket.authority else {})
