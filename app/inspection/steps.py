"""A change as the steps in which it is made: what must be done before, what an apply brings in which order, and what is left to do."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from app.inspection.changes import Action, Change, Effect

_NO_PODS = {Effect.NONE, Effect.REFUSED}


@frozen
class Group:
    """What becomes of one component: its changes, and the effects on its pods. `together`: all of its pods stop at once."""

    component: str
    changes: tuple[Change, ...]
    together: bool

    @property
    def effects(self) -> Mapping[Effect, tuple[str, ...]]:
        """Effect to the workloads that it is on."""
        found: dict[Effect, list[str]] = {}
        for change in self.changes:
            if change.effect not in _NO_PODS:
                found.setdefault(change.effect, []).append(change.identity.name)
        return {effect: tuple(names) for effect, names in found.items()}


@frozen
class Step:
    """What comes at once: the groups of one wave."""

    wave: int
    groups: tuple[Group, ...]


def steps(changes: Sequence[Change], stopped_by: Mapping[str, str]) -> tuple[Step, ...]:
    """Every change but those that are refused and those of objects that are gone, once, in order.

    `stopped_by`: a component to the ConfigMap whose change stops all of its pods.
    """
    stopping = {
        change.identity.name
        for change in changes
        if change.identity.kind == "ConfigMap" and any(field.path.startswith("data.") for field in change.fields)
    }
    together = {component for component, config_map in stopped_by.items() if config_map in stopping}
    made = [change for change in changes if change.refused is None and change.action is not Action.GONE]
    return tuple(
        Step(wave, tuple(_groups([change for change in made if change.wave == wave], together)))
        for wave in sorted({change.wave for change in made})
    )


def _groups(changes: Sequence[Change], together: set[str]) -> Iterable[Group]:
    for component in dict.fromkeys(change.component for change in changes):
        yield Group(component, tuple(change for change in changes if change.component == component), component in together)


def refused(changes: Iterable[Change]) -> tuple[Change, ...]:
    """What no apply can make."""
    return tuple(change for change in changes if change.refused is not None)


def left(changes: Iterable[Change]) -> tuple[Change, ...]:
    """What an apply does not take away: a GitOps tool that prunes does, a person deletes it."""
    return tuple(change for change in changes if change.action is Action.GONE)
