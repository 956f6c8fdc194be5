"""How a site is watched."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.options import option


class Mode(StrEnum):
    """Who runs Prometheus."""

    BUNDLED = "bundled"
    OPERATOR = "operator"


@frozen(kw_only=True)
class MonitoringOptions:
    """Metrics and alerts."""

    mode: Mode = option(
        Mode.BUNDLED,
        "`bundled`: Prometheus is a part of the platform. `operator`: your own is there, by the Prometheus Operator; it gets PodMonitors and "
        "rules for it.",
    )
