"""What a profile says of monitoring."""

from attrs import frozen

from kit.quantities import Bytes, Cpu


@frozen
class MonitoringSize:
    """`prometheus`: the processor that it gets. `metrics`: its volume, which holds what it has measured. `alertmanagers`: how many there are."""

    prometheus: Cpu
    metrics: Bytes
    alertmanagers: int
