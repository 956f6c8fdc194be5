"""How a site is watched."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import LogAge
from kit.options import When, option, section


class Mode(StrEnum):
    """Who runs Prometheus."""

    BUNDLED = "bundled"
    OPERATOR = "operator"


@frozen(kw_only=True)
class LogOptions:
    """Logs of all pods, in object storage."""

    retention: LogAge = option("30d", "How long they are kept.")
    audit_retention: LogAge = option(
        "52w", "How long the logs of lawful interception are kept, which say who has looked at whose messages and keys."
    )


@frozen(kw_only=True)
class MonitoringOptions:
    """Metrics and alerts."""

    mode: Mode = option(
        Mode.BUNDLED,
        "`bundled`: Prometheus is a part of the platform. `operator`: your own is there, by the Prometheus Operator; it gets PodMonitors and "
        "rules for it.",
    )
    logs: LogOptions = section(LogOptions, only_with=When("monitoring.mode", Mode.BUNDLED))
