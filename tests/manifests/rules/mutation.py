"""Breaking what is built on purpose: a rule that does not see it is no rule.

An object is named `kind/name`, or `kind/namespace/name` where several have the name. A generated ConfigMap may be named without its hash.
A place in it is a path as in `paths`.
"""

import pickle
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from tests.manifests.rules.objects import Object, Objects, Rule
from tests.manifests.rules.paths import at, parse

Break: TypeAlias = Callable[[Objects], Any]


# -- what can be done to objects


def without(target: str, path: str) -> Break:
    """Take a field away, or an item of a list."""

    def change(objects: Objects) -> None:
        *outer, last = parse(path)
        del at(named(objects, target), tuple(outer))[last]

    return change


def setting(target: str, path: str, value: Any) -> Break:
    """Give a field a value, whether it is there or not."""

    def change(objects: Objects) -> None:
        *outer, last = parse(path)
        at(named(objects, target), tuple(outer))[last] = value

    return change


def updating(target: str, path: str, **fields: Any) -> Break:
    """Give several fields of one place their values."""
    return both(*(setting(target, f"{path}.{name}", value) for name, value in fields.items()))


def adding(target: str, path: str, item: Any) -> Break:
    """Add an item to a list."""
    return lambda objects: at(named(objects, target), parse(path)).append(item)


def deleting(target: str) -> Break:
    """Take an object away."""
    return lambda objects: objects.remove(named(objects, target))


def creating(o: Object) -> Break:
    """Add an object."""
    return lambda objects: objects.append(o)


def repeating(target: str) -> Break:
    """Have an object twice."""
    return lambda objects: objects.append(named(objects, target))


def replacing(config_map: str, file: str, old: str, new: str) -> Break:
    """Change the text of a configuration file; AssertionError if there is nothing to change."""
    return lambda objects: replace_text(objects, config_map, file, old, new)


def both(*changes: Break) -> Break:
    """Several changes at once."""

    def change(objects: Objects) -> None:
        for each in changes:
            each(objects)

    return change


# -- what they are done to


def named(objects: Objects, target: str) -> Object:
    """The object `kind/name` or `kind/namespace/name`."""
    kind, *namespace, name = target.split("/")
    return pick([o for o in objects if not namespace or o["metadata"].get("namespace") == namespace[0]], kind, name)


def pick(objects: Objects, kind: str, name: str) -> Object:
    """The object of a kind that is called so, with a hash of Kustomize's behind it, or else the first whose name begins so."""
    named = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name)]
    called = [o for o in named if re.fullmatch("(-[a-z0-9]{10})?", o["metadata"]["name"].removeprefix(name))]
    return (called or named)[0]


def container(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The first container of a workload."""
    first: dict[str, Any] = at(pick(objects, kind, name), parse("container"))
    return first


def replace_text(objects: Objects, config_map: str, file: str, old: str, new: str) -> None:
    """Change a configuration file; AssertionError if there is nothing to change."""
    data = pick(objects, "ConfigMap", config_map)["data"]
    assert old in data[file], f"{old} is not in {file}"
    data[file] = data[file].replace(old, new)


def broken(objects: Objects, *changes: Break) -> Objects:
    """A copy of the objects, broken."""
    copy: Objects = pickle.loads(pickle.dumps(objects))  # several times as fast as deepcopy
    both(*changes)(copy)
    return copy


def assert_noticed(rule: Rule, objects: Objects, change: Break, mention: str) -> None:
    """The rule finds nothing before the change, and afterwards a problem that mentions what was broken."""
    assert rule(objects) == []
    found = rule(broken(objects, change))
    assert any(mention in problem for problem in found), found
