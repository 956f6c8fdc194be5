"""Breaking what is built on purpose: a rule that does not see it is no rule."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias

from tests.manifests.rules.objects import Object, Objects, Rule

Break: TypeAlias = Callable[[Objects], Any]


def pick(objects: Objects, kind: str, name: str) -> Object:
    """The object of a kind whose name begins so (generated ConfigMaps end in a hash)."""
    exact = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return (exact or [o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name)])[0]


def pod(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The pod of a workload."""
    spec: dict[str, Any] = pick(objects, kind, name)["spec"]["template"]["spec"]
    return spec


def container(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The first container of a workload."""
    first: dict[str, Any] = pod(objects, kind, name)["containers"][0]
    return first


def remove(objects: Objects, kind: str, name: str) -> None:
    objects.remove(pick(objects, kind, name))


def replace_text(objects: Objects, config_map: str, file: str, old: str, new: str) -> None:
    """Change a configuration file; AssertionError if there is nothing to change."""
    data = pick(objects, "ConfigMap", config_map)["data"]
    assert old in data[file], f"{old} is not in {file}"
    data[file] = data[file].replace(old, new)


def assert_noticed(rule: Rule, objects: Objects, change: Break, mention: str) -> None:
    """The rule finds nothing before the change, and afterwards a problem that mentions what was broken."""
    assert rule(objects) == []
    broken = deepcopy(objects)
    change(broken)
    found = rule(broken)
    assert any(mention in problem for problem in found), found
