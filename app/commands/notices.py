"""What a change does to people: each component says it of itself, in its class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from app.site import Site

if TYPE_CHECKING:
    from app.inspection.changes import Change
    from app.inspection.steps import Group, Step
    from kit.component import Component
    from overlays import Profile


@frozen
class People:
    """The components of a site by their names, of which each says what people notice."""

    components: "Mapping[str, Component]"

    @property
    def stopped_by(self) -> Mapping[str, str]:
        """A component to the ConfigMap whose change stops all of its pods at once."""
        return {name: component.stopped_by.config_map for name, component in self.components.items() if component.stopped_by}

    @property
    def of_one_release(self) -> set[str]:
        """The components whose pods work with none of another release."""
        return {name for name, component in self.components.items() if component.new_release and component.new_release.of_one}

    def steps(self, changes: "Sequence[Change]") -> "tuple[Step, ...]":
        """What an apply brings, in order, with what stops together."""
        from app.inspection.steps import steps

        return steps(changes, self.stopped_by, self.of_one_release)

    def command(self, group: "Group") -> str | None:
        """What is run as soon as a group is applied; None where it comes up by itself."""
        component = self.components.get(group.component)
        if component is None or component.new_release is None or not (component.new_release.of_one and group.released):
            return None
        labels = ",".join(f"{key}={value}" for key, value in component.pods.labels)
        return f"kubectl -n {component.namespace} delete pods -l {labels}"

    def notice(self, group: "Group") -> str | None:
        """What people notice of one group; None where no pod is replaced."""
        from app.inspection.changes import Effect

        component = self.components.get(group.component)
        if Effect.RESTARTS not in group.effects:
            return None
        if component and group.together and component.stopped_by:
            return component.stopped_by.noticed
        if component and (new := component.new_release) and (group.another_major if new.major else group.released):
            return new.noticed
        return component.noticed if component else "what it does waits while its pods are replaced"


def people(site: Site, profile: "Profile") -> People:
    """Those of a site in one size."""
    from cdk8s import App

    from app.platform import assemble
    from kit.component import Component

    return People({node.name: node for node in assemble(App(), site, profile).node.find_all() if isinstance(node, Component)})


def lines(steps: "Sequence[Step]", people: People) -> Iterator[str]:
    """Steps as text: a line for each, then a line for each of its components that has pods to do with it, and what people notice."""
    from app.inspection.changes import Effect
    from kit.waves import WAVES

    for step in steps:
        count = sum(len(group.changes) for group in step.groups)
        yield f"{step.wave}. {WAVES.get(step.wave, 'the rest')}: {count} objects"
        for group in step.groups:
            for effect, names in group.effects.items():
                how = "pods stop all together, and are replaced" if group.together and effect is Effect.RESTARTS else effect.value
                yield f"   {group.component}: {how}: {_some(names)}"
            if notice := people.notice(group):
                yield f"   {group.component}: people notice: {notice}"
            if command := people.command(group):
                yield f"   {group.component}: none works with one of the other release, so when they are applied: {command}"


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
