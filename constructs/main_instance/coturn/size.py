"""What a profile says of coturn."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class CoturnSize:
    """coturn on each of its nodes. `relayed`: addresses that one relays at a time, each on a port of its own; a call takes a few."""

    resources: Resources
    relayed: int
