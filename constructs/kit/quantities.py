"""Kubernetes resource quantities as exact integers: CPU in millicores, memory and storage in bytes."""

from attrs import field, frozen
from attrs.validators import ge

_BINARY_UNITS = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


@frozen(order=True)
class Cpu:
    """An amount of CPU time per second, in thousandths of a core."""

    millicores: int = field(validator=ge(0))

    def __str__(self) -> str:
        """As Kubernetes writes it canonically: `2` for whole cores, else `250m`."""
        return str(self.millicores // 1000) if self.millicores % 1000 == 0 else f"{self.millicores}m"

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.millicores + other.millicores)

    def __mul__(self, count: int) -> "Cpu":
        return Cpu(self.millicores * count)


@frozen(order=True)
class Bytes:
    """An amount of memory or storage, in bytes."""

    count: int = field(validator=ge(0))

    def __str__(self) -> str:
        """As Kubernetes writes it canonically: the largest binary unit that divides it, e.g. `1536Mi`."""
        for suffix, size in _BINARY_UNITS:
            if self.count and self.count % size == 0:
                return f"{self.count // size}{suffix}"
        return str(self.count)

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(self.count + other.count)

    def __mul__(self, factor: int) -> "Bytes":
        return Bytes(self.count * factor)


def millicores(count: int) -> Cpu:
    """`millicores(250)` is a quarter of a core."""
    return Cpu(count)


def cores(count: int) -> Cpu:
    """`cores(2)` is two whole cores."""
    return Cpu(count * 1000)


def mib(count: int) -> Bytes:
    """`mib(512)` is 512 MiB."""
    return Bytes(count * 2**20)


def gib(count: int) -> Bytes:
    """`gib(4)` is 4 GiB."""
    return Bytes(count * 2**30)


def tib(count: int) -> Bytes:
    """`tib(1)` is 1 TiB."""
    return Bytes(count * 2**40)


def parse_cpu(text: str | int) -> Cpu:
    """Read what Kubernetes accepts for CPU: `2`, `"250m"`, `"0.5"`. Raises ValueError for anything else."""
    raw = str(text)
    if raw.endswith("m"):
        return Cpu(int(raw[:-1]))
    whole, _, fraction = raw.partition(".")
    if len(fraction) > 3:
        raise ValueError(f"{raw!r} is finer than a millicore")
    return Cpu(int(whole or "0") * 1000 + int(fraction.ljust(3, "0")))


def parse_bytes(text: str | int) -> Bytes:
    """Read what Kubernetes accepts for memory and storage with a binary unit or none: `"16Gi"`, `1024`. Raises ValueError for anything else."""
    raw = str(text)
    for suffix, size in _BINARY_UNITS:
        if raw.endswith(suffix):
            return Bytes(int(raw.removesuffix(suffix)) * size)
    return Bytes(int(raw))


@frozen
class Resources:
    """What one container asks of its node: requests for the scheduler, and a memory limit.

    There is no CPU limit: throttling a single-threaded process costs latency and protects nobody whose requests are honest.
    """

    cpu: Cpu
    memory: Bytes
    memory_limit: Bytes

    def __attrs_post_init__(self) -> None:
        if self.memory_limit < self.memory:
            raise ValueError(f"memory limit {self.memory_limit} is below the request {self.memory}")
