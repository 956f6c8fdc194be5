"""A change as the steps in which it is made: what must be done before, what an apply brings in which order, and what is left to do."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from app.inspection.changes import Action, Change, Effect, identity_of
from app.inspection.images import release, version
from kit.rendering import Manifest, ObjectId

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

    @property
    def released(self) -> bool:
        """Whether pods come to run another release of a program."""
        return any(release(was) != release(will) for was, will in images(self.changes))

    @property
    def another_major(self) -> bool:
        """Whether it is another major release."""
        return any(version(was)[:1] != version(will)[:1] for was, will in images(self.changes))


@frozen
class Step:
    """What comes at once: the groups of one wave."""

    wave: int
    groups: tuple[Group, ...]


def steps(changes: Sequence[Change], stopped_by: Mapping[str, str], of_one_release: Collection[str] = ()) -> tuple[Step, ...]:
    """Every change but those that are refused and those of objects that are gone, once, in order.

    `stopped_by`: a component to the ConfigMap whose change stops all of its pods. `of_one_release`: those whose pods work with none of another
    release.
    """
    stopping = {
        change.identity.name
        for change in changes
        if change.identity.kind == "ConfigMap" and any(field.path.startswith("data.") for field in change.fields)
    }
    together = {component for component, config_map in stopped_by.items() if config_map in stopping}
    together |= {group.component for group in _groups(changes, set()) if group.released and group.component in of_one_release}
    made = [change for change in changes if change.refused is None and change.action is not Action.GONE]
    return tuple(
        Step(wave, tuple(_groups([change for change in made if change.wave == wave], together)))
        for wave in sorted({change.wave for change in made})
    )


def _groups(changes: Sequence[Change], together: set[str]) -> Iterable[Group]:
    for component in dict.fromkeys(change.component for change in changes):
        yield Group(component, tuple(change for change in changes if change.component == component), component in together)


def images(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """The images of pods that are replaced, before and after."""
    for change in changes:
        for field in change.fields if change.effect is Effect.RESTARTS else ():
            if field.path.rpartition(".")[2] in ("image", "imageName") and isinstance(field.before, str) and isinstance(field.after, str):
                yield field.before, field.after


def refused(changes: Iterable[Change]) -> tuple[Change, ...]:
    """What no apply can make."""
    return tuple(change for change in changes if change.refused is not None)


def kept_by(changes: Iterable[Change]) -> Mapping[str, Any]:
    """The options of a site with which nothing is refused for being less than there is, as site.yaml has them."""
    options: dict[str, Any] = {}
    for change in refused(changes):
        for key, value in change.refused.keep.items() if change.refused else ():
            *sections, name = key.split(".")
            place = options
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = value
    return options


def unclaimed(before: Iterable[Manifest], after: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """Volumes, by namespace and name, of the pods that a StatefulSet has no more: Kubernetes keeps them."""
    there = {ObjectId.of(o): o["spec"].get("replicas", 1) for o in after if o["kind"] == "StatefulSet"}
    for o in before:
        identity = ObjectId.of(o)
        if identity in there:
            for template in o["spec"].get("volumeClaimTemplates", []):
                names = (
                    f"{template['metadata']['name']}-{identity.name}-{n}" for n in range(there[identity], o["spec"].get("replicas", 1))
                )
                yield from ((identity.namespace, name) for name in names)


def superseded(before: Iterable[Manifest], after: Iterable[Manifest]) -> tuple[ObjectId, ...]:
    """What has been generated and has another digest in its name now, by namespace: an apply leaves it, and nobody reads it any more."""
    names = {identity_of(o): ObjectId.of(o) for o in after}
    found = [ObjectId.of(o) for o in before if names.get(identity_of(o), ObjectId.of(o)) != ObjectId.of(o)]
    return tuple(sorted(found, key=lambda one: (one.namespace, one)))


def left(changes: Iterable[Change]) -> tuple[Change, ...]:
    """What an apply does not take away: a GitOps tool that prunes does, a person deletes it."""
    return tuple(change for change in changes if change.action is Action.GONE)
