"""What a profile says of monitoring."""

from attrs import frozen

from kit.quantities import Bytes, Resources


@frozen
class MonitoringSize:
    """`prometheus`: what it gets; `metrics`: its volume, which holds what it has measured. `alertmanagers`: how many there are."""

    prometheus: Resources
    metrics: Bytes
    alertmanagers: int
