"""Where the pods of a component run and what they get, where a site wants it otherwise than the platform."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import Annotations, CpuAmount, Labels, MemoryAmount, Name
from kit.options import Entries, Items, Section, Text, option, section
from kit.quantities import Bytes, Cpu, Resources

_LABEL = Text("a label", r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?", "topology.kubernetes.io/zone", max_length=317)
LabelValues = Annotated[
    tuple[tuple[str, tuple[str, ...]], ...],
    Entries(key=_LABEL, value=Items(Text("the value of a label", "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", "zone-a"))),
]
Variables = Annotated[
    tuple[tuple[str, str], ...],
    Entries(key=Text("the name of a variable", "[A-Za-z_][A-Za-z0-9_]*", "TZ"), value=Text("text", r"[^\x00-\x1f\x7f]*", "Europe/Berlin")),
]


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@frozen(kw_only=True)
class Toleration:
    """A taint of nodes on which the pods run all the same."""

    key: Annotated[str, _LABEL] | None = option(None, "Of the taint.", otherwise="every taint")
    value: Annotated[str, Text("the value of a taint", "[-A-Za-z0-9_.]{1,63}", "matrix")] | None = option(
        None, "Of the taint.", otherwise="any"
    )
    effect: TaintEffect | None = option(None, "Of the taint.", otherwise="any")


@frozen(kw_only=True)
class PodResources:
    """What the program of each pod asks of its node."""

    cpu: CpuAmount | None = option(None, "Processor time.", otherwise="the profile's")
    memory: MemoryAmount | None = option(None, "Memory.", otherwise="the profile's")
    memory_limit: MemoryAmount | None = option(None, "The most memory, above which it is ended.", otherwise="the profile's")

    def over(self, ours: Resources) -> Resources:
        """These in place of the platform's. Raises ValueError when the limit is below the request."""
        cpu: Cpu = self.cpu or ours.cpu
        memory: Bytes = self.memory or ours.memory
        return Resources(cpu, memory, self.memory_limit or max(ours.memory_limit, memory))


@frozen(kw_only=True)
class Placement:
    """Where the pods of a component run, and what they get."""

    node_selector: Labels = option((), "Labels that a node must have.")
    affinity: LabelValues = option((), "For each label the values of which a node must have one.", otherwise="`{}`")
    tolerations: tuple[Toleration, ...] = option((), "Taints of nodes on which they run all the same.")
    priority_class: Name | None = option(None, "A PriorityClass that exists.", otherwise="the platform's")
    resources: PodResources = section(PodResources)
    annotations: Annotations = option((), "Annotations of the pods.", otherwise="`{}`")
    env: Variables = option((), "Environment variables of the program, besides those of the platform.", otherwise="`{}`")


Placements = Annotated[
    tuple[tuple[str, Placement], ...],
    Entries(key=Text("the name of a component or workload", "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "synchrotron"), value=Section(Placement)),
]
