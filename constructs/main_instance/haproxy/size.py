"""What a profile says of HAProxy."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class HAProxySize:
    """`replicas` proxies, each with `resources`."""

    replicas: int
    resources: Resources
