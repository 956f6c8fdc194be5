"""Every field of an object, one by one taken out or given another value: what no rule notices, no rule holds."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from tests.manifests.rules.objects import Object, Objects, Rule, title
from tests.manifests.rules.paths import Key, Path, dotted


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value in a structure that is no structure itself, or an empty one, with its path."""
    items: Iterable[tuple[Key, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    nothing = True
    for key, item in items:
        nothing = False
        yield from leaves(item, (*path, key))
    if nothing:
        yield path, value


def another(value: Any) -> Any:
    """Another value that looks alike: a number stays a number and a size a size, so that nothing fails but who minds the value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 10 * value + 1
    if isinstance(value, str):
        return re.sub(r"^(\d+)", r"\g<1>1", value) if re.fullmatch(r"\d+(\.\d+)?[A-Za-z]*", value) else f"{value}-other"
    return {"other": "other"}


def taken_out(value: Any, path: Path) -> Any:
    """A copy of a structure without what stands at a path."""
    *outer, last = path
    copy = _copied(value, tuple(outer))
    del _inner(copy, tuple(outer))[last]
    return copy


def changed(value: Any, path: Path) -> Any:
    """A copy of a structure with another value at a path."""
    *outer, last = path
    copy = _copied(value, tuple(outer))
    place = _inner(copy, tuple(outer))
    place[last] = another(place[last])
    return copy


def _copied(value: Any, path: Path) -> Any:
    """A structure of which everything on the way along a path is a copy, and the rest is shared."""
    copy = value.copy()
    if path:
        copy[path[0]] = _copied(value[path[0]], path[1:])
    return copy


def _inner(value: Any, path: Path) -> Any:
    return _inner(value[path[0]], path[1:]) if path else value


@frozen
class Slip:
    """A field of one object that is gone, or has another value."""

    object: str
    kind: str
    path: Path
    what: str

    @property
    def field(self) -> str:
        """The field in any object of the kind: `Cluster spec.storage.size`."""
        return f"{self.kind} {dotted(self.path)}"

    def __str__(self) -> str:
        return f"{self.object}: {dotted(self.path)} {self.what}"


def slips(o: Object) -> Iterator[tuple[Slip, Object]]:
    """Every field of an object's specification taken out and changed: what was done, and the object afterwards."""
    for path, _ in leaves(o.get("spec", {}), ("spec",)):
        yield Slip(title(o), o["kind"], path, "is gone"), taken_out(o, path)
        yield Slip(title(o), o["kind"], path, "has another value"), changed(o, path)


def unnoticed(o: Object, objects: Objects, rules: Sequence[Rule]) -> list[Slip]:
    """The slips in one of the objects that no rule notices. A rule that cannot go on with what is broken has noticed it, too."""
    place = next(number for number, other in enumerate(objects) if other is o)
    asked, found = list(rules), []
    for slip, broken in slips(o):
        noticing = _first_to_notice([*objects[:place], broken, *objects[place + 1 :]], asked)
        if noticing is None:
            found.append(slip)
        else:
            # Whoever has noticed one field is likely to notice its neighbour.
            asked.insert(0, asked.pop(noticing))
    return found


def _first_to_notice(objects: Objects, rules: Sequence[Rule]) -> int | None:
    """The place of the first rule that finds something."""
    for place, rule in enumerate(rules):
        try:
            if rule(objects):
                return place
        except Exception:  # a test with such a rule fails
            return place
    return None
