"""Loki as configuration. Pure functions of what a site and a profile say.

Options: https://grafana.com/docs/loki/v3.7.x/configure/
"""

from typing import Any

from attrs import frozen

from infrastructure.object_storage.s3 import Bucket
from kit.quantities import Bytes
from monitoring.options import LogOptions

HTTP_PORT, GRPC_PORT, GOSSIP_PORT = 3100, 9095, 7946
DATA = "/loki"
OVERRIDES = "/etc/loki/overrides.yaml"

PLATFORM = "platform"
"""The tenant of the logs that people look at to find out what is wrong."""
AUDIT = "audit"
"""The tenant of the logs that say who has looked at whose messages and keys: kept longer, and not shown by Grafana."""
TENANT_HEADER = "X-Scope-OrgID"


@frozen
class LokiSpec:
    """`servers`: how many there are; from three on each line is on two disks before it is in the bucket. `members`: the host name of all.

    `authority`: where the certificate of the bucket's authority is mounted, if it has one of its own. `memory`: of each server.
    """

    options: LogOptions
    bucket: Bucket
    servers: int
    members: str
    memory: Bytes
    authority: str | None


def loki_config(spec: LokiSpec) -> dict[str, Any]:
    """loki.yaml."""
    bucket = spec.bucket
    storage: dict[str, Any] = {
        "bucketnames": bucket.name,
        "endpoint": bucket.endpoint,
        "region": bucket.region,
        "s3forcepathstyle": True,
        "insecure": bucket.endpoint.startswith("http://"),
    }
    if spec.authority:
        storage["http_config"] = {"ca_file": spec.authority}
    return {
        # Each request names its tenant.
        "auth_enabled": True,
        "server": {"http_listen_port": HTTP_PORT, "grpc_listen_port": GRPC_PORT, "log_level": "warn"},
        "common": {
            "path_prefix": DATA,
            "replication_factor": 3 if spec.servers >= 3 else 1,
            "ring": {"kvstore": {"store": "memberlist"}},
            "storage": {"s3": storage},
        },
        "memberlist": {"bind_port": GOSSIP_PORT, "join_members": [f"{spec.members}:{GOSSIP_PORT}"]},
        "schema_config": {
            "configs": [
                {
                    # A change of any of these is another entry, from a day to come.
                    "from": "2026-01-01",
                    "store": "tsdb",
                    "object_store": "s3",
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        # What was accepted and is not in the bucket yet is in the log on the volume: it is read again into memory after a crash.
        "ingester": {"wal": {"replay_memory_ceiling": f"{spec.memory.count // 2 // 2**20}MB"}},
        "compactor": {"retention_enabled": True, "delete_request_store": "s3"},
        "limits_config": {
            "retention_period": spec.options.retention,
            # For all servers together. A platform of the largest size writes about 3 MB a second; a program that has gone wild is cut off.
            "ingestion_rate_mb": 16,
            "ingestion_burst_size_mb": 32,
            "per_stream_rate_limit": "8MB",
            "per_stream_rate_limit_burst": "32MB",
            "max_global_streams_per_user": 10_000,
            # A stack trace without end is cut, not lost.
            "max_line_size": "64KB",
            "max_line_size_truncate": True,
            # Nobody deletes single lines.
            "deletion_mode": "disabled",
            # As far back as there is something.
            "max_query_length": "0",
        },
        "runtime_config": {"file": OVERRIDES},
        "analytics": {"reporting_enabled": False},
    }


def overrides(options: LogOptions) -> dict[str, Any]:
    """What is otherwise for single tenants."""
    return {"overrides": {AUDIT: {"retention_period": options.audit_retention}}}
