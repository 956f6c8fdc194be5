"""What MinIO's metrics tell people (version 2, `/minio/v2/metrics/cluster`). Every server answers for all of them."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "ObjectStorageUnhealthy",
        "max by (namespace, job) (minio_cluster_health_status) < 1",
        2,
        Severity.CRITICAL,
        "{{ $labels.job }} has lost the majority that it needs to write: no media, and no backup.",
        ("ObjectStorageNodesOffline", "ObjectStorageDrivesOffline", "ArchiveRefused"),
    ),
    Alert(
        "ObjectStorageNodesOffline",
        "max by (namespace, job) (minio_cluster_nodes_offline_total) > 0",
        5,
        Severity.WARNING,
        "{{ $value }} servers of {{ $labels.job }} are away.",
        ("ObjectStorageDrivesOffline",),
    ),
    Alert(
        "ObjectStorageDrivesOffline",
        "max by (namespace, job) (minio_cluster_drive_offline_total) > 0",
        5,
        Severity.WARNING,
        "{{ $value }} drives of {{ $labels.job }} are away: what is on them is there by parity alone.",
    ),
    Alert(
        "ObjectStorageFull",
        "min by (namespace, job) (minio_cluster_capacity_usable_free_bytes)"
        " / on (namespace, job) min by (namespace, job) (minio_cluster_capacity_usable_total_bytes) < 0.15",
        15,
        Severity.WARNING,
        "{{ $labels.job }} has {{ $value | humanizePercentage }} of its room left.",
    ),
    Alert(
        "ObjectStorageRefuses",
        "sum by (namespace, job) (max by (namespace, job, server, api)"
        ' (rate(minio_s3_requests_4xx_errors_total{api=~"putobject|putobjectpart|newmultipartupload"}[10m]))) > 0.02',
        15,
        Severity.WARNING,
        "{{ $labels.job }} refuses what is put: a bucket has reached its quota, or somebody's keys or rights are wrong.",
    ),
)
