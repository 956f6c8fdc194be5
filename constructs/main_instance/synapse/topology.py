"""Which Synapse processes a site runs, and which of them writes each stream and does each duty."""

from collections.abc import Mapping
from difflib import get_close_matches

from attrs import frozen

from main_instance.synapse.worker_type import Duty, Scaling, Stream, WorkerType
from main_instance.synapse.workers import WORKER_TYPES

MASTER = "master"
"""What Synapse calls the main process wherever it names instances, except in `instance_map` (synapse/config/workers.py)."""

_WRITTEN_BY_MAIN_TOO = frozenset({Stream.QUARANTINED_MEDIA})
"""Room administration on main quarantines media as well as the media repository does, so both have to be writers."""


@frozen
class Topology:
    """The worker instances of one site. Made by `topology`, which checks the numbers."""

    instances: Mapping[str, tuple[str, ...]]
    """Worker type name to the names of its instances, in the order of `types`."""
    types: tuple[WorkerType, ...] = WORKER_TYPES

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of all worker instances."""
        return tuple(name for names in self.instances.values() for name in names)

    @property
    def replicating(self) -> tuple[str, ...]:
        """The names of all workers that other processes call."""
        return tuple(name for worker in self.types if worker.replicates for name in self.instances[worker.name])

    @property
    def writers(self) -> dict[Stream, tuple[str, ...]]:
        """The instances that write each stream. Their order counts: Synapse spreads rooms over it."""
        return {
            stream: ((MASTER,) if stream in _WRITTEN_BY_MAIN_TOO else ()) + self.instances[worker.name]
            for worker in self.types
            for stream in worker.writes
        }

    @property
    def duties(self) -> dict[Duty, tuple[str, ...]]:
        """The instances that do each duty: one, unless the duty is spread over a list. Order counts here too.

        A list of none means that nobody does it: without the list, main would.
        """
        nobody = {duty: tuple[str, ...]() for duty in Duty if duty.takes_list}
        return nobody | {
            duty: self.instances[worker.name] if duty.takes_list else self.instances[worker.name][:1]
            for worker in self.types
            for duty in worker.duties
        }


def topology(counts: Mapping[str, int], types: tuple[WorkerType, ...] = WORKER_TYPES) -> Topology:
    """Name the instances of every worker type.

    `counts`: worker type name to number of instances, for all of `types`. Raises ValueError with all reasons, one a line, for an
    unknown or a missing type, for none of a type, and for more than one where Synapse allows one.
    """
    known = {worker.name: worker for worker in types}
    reasons = [_unknown(name, known) for name in counts if name not in known]
    reasons += [reason for worker in types if (reason := _refusal(worker, counts.get(worker.name)))]
    if reasons:
        raise ValueError("\n".join(reasons))
    return Topology({worker.name: worker.instances(counts[worker.name]) for worker in types}, types)


def _unknown(name: str, known: Mapping[str, WorkerType]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"{name}: no such worker type" + (f"; did you mean {near[0]}?" if near else "")


def _refusal(worker: WorkerType, count: int | None) -> str | None:
    if count is None:
        return f"{worker.name}: the number of instances is missing"
    if count < 1:
        return f"{worker.name}: {count} instances, and nothing else does its work: at least 1"
    if count > 1 and worker.scaling is Scaling.SINGLE:
        return f"{worker.name}: {count} instances, and Synapse allows one"
    return None
