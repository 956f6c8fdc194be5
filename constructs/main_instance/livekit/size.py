"""What a profile says of LiveKit."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class LiveKitSize:
    """`replicas` media servers, each on a node of its own with `resources`."""

    replicas: int
    resources: Resources
