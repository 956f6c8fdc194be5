"""What a profile says of Synapse: how many workers of each type, and how large a process of each load class is."""

from collections.abc import Mapping
from functools import cached_property

from attrs import field, fields, frozen

from kit.quantities import Resources
from main_instance.synapse.worker_type import Load, Scaling


@frozen
class Workers:
    """Instances of each Synapse worker type.

    The types named here grow with the number of users; the others follow how they scale: elastic ones get `others`, sharded ones
    `other_shards`, single ones are one.
    """

    synchrotron: int
    event_persister: int
    client_reader: int
    federation_sender: int
    media_repository: int
    federation_reader: int
    others: int
    other_shards: int = 1
    extra: Mapping[str, int] = field(factory=dict, hash=False)
    """Instances of any further type by name, where a site knows better."""

    @classmethod
    def named_fields(cls) -> tuple[str, ...]:
        """The fields that are numbers of instances."""
        return tuple(attribute.name for attribute in fields(cls) if attribute.name != "extra")

    @cached_property
    def named(self) -> dict[str, int]:
        """Worker type name to instances, for the types that are named."""
        names = [name for name in self.named_fields() if name not in {"others", "other_shards"}]
        return {name.replace("_", "-"): getattr(self, name) for name in names} | dict(self.extra)

    def count(self, name: str, scaling: Scaling) -> int:
        """Instances of a worker type, by its name and by how it scales."""
        return self.named.get(name, {Scaling.SINGLE: 1, Scaling.SHARDED: self.other_shards, Scaling.ELASTIC: self.others}[scaling])

    def ceiling(self, instances: int) -> int:
        """To how many instances an autoscaler may grow an elastic type: half as many again, and any type up to the number of synchrotrons."""
        return max(instances + max(1, instances // 2), self.synchrotron)


@frozen
class Connections:
    """The most connections to the database that one process of each load class opens (cp_max), and main."""

    light: int
    medium: int
    heavy: int
    main: int

    def of(self, load: Load) -> int:
        """What a worker of a load class opens."""
        return {Load.LIGHT: self.light, Load.MEDIUM: self.medium, Load.HEAVY: self.heavy}[load]


@frozen
class SynapseSize:
    """How many processes, what one of each load class gets, and what all of them share."""

    workers: Workers
    light: Resources
    medium: Resources
    heavy: Resources
    main: Resources
    connections: Connections
    cache_factor: float

    def of(self, load: Load) -> Resources:
        """What a worker of a load class gets."""
        return {Load.LIGHT: self.light, Load.MEDIUM: self.medium, Load.HEAVY: self.heavy}[load]
