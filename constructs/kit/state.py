"""What a component keeps: what would be gone with its volumes, and what brings it back."""

from attrs import frozen


@frozen
class State:
    """One thing that is kept. `what`: in people's words; `where`: the kind and name of the object that holds it.

    `restored`: what brings it back when that object is lost with its volumes, or why nobody misses it.
    """

    what: str
    where: str
    restored: str
