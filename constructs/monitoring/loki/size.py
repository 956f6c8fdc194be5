"""What a profile says of logs."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class LogsSize:
    """`servers` of Loki: from three on, the loss of one loses no line. `loki`: each. `reader`: what reads all pods."""

    servers: int
    loki: Resources
    reader: Resources
