"""What the scan workers' metrics tell people (services/scan_worker/metrics.py)."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "ScanEngineDown",
        "max by (namespace, engine) (scan_worker_engine_up) < 1",
        2,
        Severity.CRITICAL,
        "The engine {{ $labels.engine }} answers nobody: files have no verdict.",
        ("ScansFail",),
    ),
    Alert(
        "ScansFail",
        "sum by (namespace) (rate(scan_worker_engine_errors_total[5m])) > 0",
        5,
        Severity.WARNING,
        "An engine says nothing about {{ $value }} files a second.",
    ),
    Alert(
        "SignaturesOld",
        "time() - min by (namespace, engine) (scan_worker_signatures_published_seconds) > 3 * 86400",
        60,
        Severity.WARNING,
        "The signatures of {{ $labels.engine }} are {{ $value | humanizeDuration }} old: it does not know what is new since then.",
    ),
    Alert(
        "InfectedFiles",
        'sum by (namespace) (increase(scan_worker_files_total{verdict="infected"}[1h])) > 0',
        0,
        Severity.WARNING,
        "{{ $value | humanize }} files with malware were refused in an hour.",
    ),
)
