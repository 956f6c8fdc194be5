"""What a component keeps: what would be gone with its volumes, and what brings it back."""

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from kit.rendering import ObjectId

KEPT: Final[Mapping[str, str]] = {
    # Neither when it is no longer declared, nor when the Application goes (argo-cd, docs/user-guide/sync-options.md).
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    # fluxcd/kustomize-controller, docs/spec/v1/kustomizations.md, "Prune".
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""The annotations of an object that only a person deletes."""
PRUNED_LAST: Final[Mapping[str, str]] = {"argocd.argoproj.io/sync-options": "PruneLast=true"}
"""Those of an object that others need until they have gone themselves: a pod that ends still reads its old configuration."""


@frozen
class State:
    """One thing that is kept. `what`: in people's words; `held_by`: the object that holds it.

    `restored`: what brings it back when that object is lost with its volumes, or why nobody misses it.
    """

    what: str
    held_by: ObjectId
    restored: str

    @property
    def where(self) -> str:
        """Kind and name of that object."""
        return f"{self.held_by.kind} {self.held_by.name}"
