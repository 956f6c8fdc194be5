"""What a change does to people: each component says it of itself, in its class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from app.site import Site

if TYPE_CHECKING:
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

    def notice(self, group: "Group") -> str | None:
        """What people notice of one group; None where no pod is replaced."""
        from app.inspection.changes import Effect

        component = self.components.get(group.component)
        if Effect.RESTARTS not in group.effects:
            return None
        if component and group.together and component.stopped_by:
            return component.stopped_by.noticed
        return component.noticed if component else "what it does waits while its pods are replaced"


def people(site: Site, profile: "Profile") -> People:
    """Those of a site in one size."""
    from cdk8s import App

    from app.platform import assemble
    from kit.component import Component

    return People({node.name: node for node in assemble(App(), site, profile).node.find_all() if isinstance(node, Component)})


def lines(steps: "Sequence[Step]", people: People) -> Iterator[str]:
    """Steps as text: a line for each, then a line for each of its components that has pods to do with it, and what people notice."""
    from kit.waves import WAVES

    for step in steps:
        count = sum(len(group.changes) for group in step.groups)
        yield f"{step.wave}. {WAVES.get(step.wave, 'the rest')}: {count} objects"
        for group in step.groups:
            for effect, names in group.effects.items():
                yield f"   {group.component}: {effect.value}: {_some(names)}"
            if notice := people.notice(group):
                yield f"   {group.component}: people notice: {notice}"


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
