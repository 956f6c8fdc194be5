"""What a profile says of logs."""

from attrs import frozen

from kit.quantities import Bytes, Resources


@frozen
class LogsSize:
    """`servers` of Loki: from three on, the loss of one loses no line. `loki`: each; `buffer`: its volume. `reader`: what reads all pods."""

    servers: int
    loki: Resources
    buffer: Bytes
    reader: Resources
