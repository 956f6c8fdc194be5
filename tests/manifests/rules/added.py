"""What the API server adds to an object: a tool that compares lists as a whole would find it for ever, and apply the object again and again."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.manifests.rules.objects import Object, Objects, title
from tests.manifests.rules.schemas import Definitions

# Lists of Kubernetes' own kinds that are merged item by item (x-kubernetes-patch-merge-key): what is added to an item disturbs nobody.
MERGED = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "topologySpreadConstraints": "topologyKey",
}
BY_PORT = {"Service": "port"}
"""Ports are told apart so; those of containers by their number."""
WITH_STATUS = {"StatefulSet": "spec.volumeClaimTemplates"}
"""A list whose items have a kind and a status of their own there, which nobody can write."""


def default_problems(objects: Objects, definitions: Definitions) -> list[str]:
    """Defaults that items of lists leave to the API server. A custom resource's list is one value, whatever is in it."""
    found = []
    for o in objects:
        schema = definitions.schemas.get((o["apiVersion"], o["kind"]))
        if schema:
            found += [f"{title(o)}: {path} is left to the API server, which adds {value!r}" for path, value in _left(o, schema)]
    return found


def _left(value: Any, schema: Mapping[str, Any], path: str = "", *, in_list: bool = False) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _left(item, schema.get("items", {}), f"{path}[{index}]", in_list=True)
    elif isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in properties.items():
            if name in value:
                yield from _left(value[name], item, f"{path}.{name}".lstrip("."), in_list=in_list)
            elif in_list and "default" in item:
                yield f"{path}.{name}", item["default"]
        if isinstance(rest, Mapping):
            for name in value.keys() - properties.keys():
                yield from _left(value[name], rest, f"{path}.{name}", in_list=in_list)


def differences(rendered: Object, there: Object) -> list[str]:
    """Where an object in the cluster is not what was rendered, for a tool that looks at what is rendered, and at lists as a whole."""
    return [f"{title(rendered)}: {path}" for path in _differs(rendered, there, rendered["kind"], "")]


def _differs(wanted: Any, there: Any, kind: str, path: str) -> Iterator[str]:
    key = path.rpartition(".")[2]
    if isinstance(wanted, dict) and isinstance(there, dict):
        for name, item in wanted.items():
            yield from _differs(item, there.get(name), kind, f"{path}.{name}".lstrip("."))
    elif isinstance(wanted, list) and isinstance(there, list) and path == WITH_STATUS.get(kind):
        for mine, theirs in zip(wanted, there, strict=True):
            yield from _differs(mine["spec"], theirs["spec"], "PersistentVolumeClaim", f"{path}[].spec")
    elif isinstance(wanted, list) and isinstance(there, list) and (by := _merged_by(key, kind)):
        items = {_key(item, by): item for item in there}
        for item in wanted:
            yield from _differs(item, items.get(_key(item, by)), kind, f"{path}[{item.get(by)}]")
    elif wanted != there:
        yield f"{path} is {there!r}, not {wanted!r}"


def _key(item: Mapping[str, Any], by: str) -> tuple[Any, ...]:
    """One number may be a port of TCP and one of UDP, and pods may be spread over nodes in a strict and in a loose way."""
    return item.get(by), item.get("protocol", "TCP"), item.get("whenUnsatisfiable")


def _merged_by(key: str, kind: str) -> str | None:
    """By what items of a list are told apart that is merged item by item. Those of a policy are not."""
    if key == "ports" and kind != "NetworkPolicy":
        return BY_PORT.get(kind, "containerPort")
    return MERGED.get(key)
