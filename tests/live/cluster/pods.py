"""From a pod template to what its containers find: variables, files, commands. Pure: the node writes and starts what is said here."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

Manifest = Mapping[str, Any]
Files = Mapping[str, bytes]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class NotThereError(Exception):
    """A Secret, ConfigMap or key that a pod needs does not exist (yet): the kubelet tries again."""


@frozen
class Identity:
    """What the downward API can tell a pod of itself."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    address: str
    node_address: str
    uid: str
    service_account: str = "default"


@frozen
class Volume:
    """One volume of a pod: files that are given, or (`files` is None) a folder to write to."""

    name: str
    files: Files | None = None
    mode: int = 0o644
    claim: str | None = None
    """The claim whose folder it is; it outlives the pod."""
    memory_limit: int | None = None
    """Bytes of an emptyDir in memory, which ends there."""


@frozen
class Mount:
    """Where a container has a volume, or one path in it."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


@frozen
class User:
    """Who a container runs as, and what its processes may gain."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...] | None
    """Those that are left, or None for what a container runtime leaves by default."""
    no_new_privileges: bool


class Objects:
    """Secrets and ConfigMaps by namespace and name."""

    def __init__(self, config_maps: Mapping[tuple[str, str], Manifest], secrets: Callable[[str, str], Mapping[str, bytes] | None]) -> None:
        self._config_maps, self._secrets = config_maps, secrets

    def secret(self, namespace: str, name: str) -> Files:
        """Values by key. Raises NotThereError."""
        found = self._secrets(namespace, name)
        if found is None:
            raise NotThereError(f"Secret {namespace}/{name} does not exist")
        return found

    def config_map(self, namespace: str, name: str) -> Files:
        """Values by key. Raises NotThereError."""
        found = self._config_maps.get((namespace, name))
        if found is None:
            raise NotThereError(f"ConfigMap {namespace}/{name} does not exist")
        binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return {key: value.encode() for key, value in (found.get("data") or {}).items()} | binary


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by the variable's value; `$$` is one dollar; what refers to nothing stays as it is.

    https://pkg.go.dev/k8s.io/kubernetes/third_party/forked/golang/expansion
    """
    return _REFERENCE.sub(lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]), text)


def quantity(text: str | float) -> int:
    """Bytes, or units: `64Mi`, `1G`, `500m` (rounded up)."""
    found = re.fullmatch(r"([0-9.]+)(m|[kMGT]|[KMGT]i)?", str(text))
    if not found:
        raise ValueError(f"{text} is no quantity")
    number = float(found[1])
    return -int(-number // 1000) if found[2] == "m" else int(number * _SUFFIXES.get(found[2] or "", 1))


def environment(container: Manifest, who: Identity, objects: Objects, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a container: `given` (the image's and the Services'), then `envFrom`, then `env` in order. Raises NotThereError."""
    variables = dict(given)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for kind, read in (("secretRef", objects.secret), ("configMapRef", objects.config_map)):
            if kind in source:
                found = _optional(source[kind], partial(read, who.namespace, source[kind]["name"]))
                variables |= {prefix + key: value.decode() for key, value in (found or {}).items()}
    for entry in container.get("env") or ():
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(str(entry.get("value") or ""), variables)
        elif (value := _value(entry["valueFrom"], container, who, objects)) is not None:
            variables[entry["name"]] = value
    return variables


def command(container: Manifest, variables: Mapping[str, str], entrypoint: Sequence[str] = ()) -> list[str]:
    """The words that are run: `command` and `args`, or the image's entry point where there is no `command`."""
    words = [*(container.get("command") or entrypoint), *(container.get("args") or ())]
    return [expand(word, variables) for word in words]


def user(pod: Manifest, container: Manifest) -> User:
    """Who a container runs as: its own security context, then its pod's. An image's own user is not known, and taken to be root."""
    common = pod.get("securityContext") or {}
    own = {**common, **(container.get("securityContext") or {})}
    uid, gid = own.get("runAsUser", 0), own.get("runAsGroup", 0)
    if own.get("runAsNonRoot") and uid == 0:
        raise ValueError(f"{container['name']} must not run as root and names no user")
    groups = {*(common.get("supplementalGroups") or ()), *([common["fsGroup"]] if "fsGroup" in common else ())}
    listed = own.get("capabilities") or {}
    dropped = "ALL" in (listed.get("drop") or ())
    return User(
        uid, gid, tuple(sorted(groups)), tuple(listed.get("add") or ()) if dropped else None, own.get("allowPrivilegeEscalation") is False
    )


def read_only_root(container: Manifest) -> bool:
    """Whether the container may write to its mounts only."""
    return bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))


def volumes(pod: Manifest, who: Identity, objects: Objects, claims: Mapping[str, str], account: Files) -> list[Volume]:
    """What a pod's volumes hold. `claims`: those of its StatefulSet, by volume; `account`: token and such. Raises NotThereError."""
    found = [_volume(volume, who, objects, account) for volume in pod.get("volumes") or ()]
    return [*found, *(Volume(name, claim=claim) for name, claim in claims.items())]


def mounts(container: Manifest, variables: Mapping[str, str]) -> list[Mount]:
    """Where a container has its volumes; parents before what is mounted below them."""
    listed = [
        Mount(
            mount["name"],
            mount["mountPath"],
            mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables),
            bool(mount.get("readOnly")),
        )
        for mount in container.get("volumeMounts") or ()
    ]
    return sorted(listed, key=lambda mount: mount.path.rstrip("/").count("/"))


def _volume(volume: Manifest, who: Identity, objects: Objects, account: Files) -> Volume:
    name = volume["name"]
    if "configMap" in volume or "secret" in volume or "downwardAPI" in volume:
        (kind,) = volume.keys() - {"name"}
        return Volume(name, _source(kind, volume[kind], who, objects, account), volume[kind].get("defaultMode", 0o644))
    if "projected" in volume:
        merged: dict[str, bytes] = {}
        for source in volume["projected"].get("sources") or ():
            ((kind, spec),) = source.items()
            merged |= _source(kind, spec, who, objects, account)
        return Volume(name, merged, volume["projected"].get("defaultMode", 0o644))
    if "emptyDir" in volume:
        spec = volume["emptyDir"] or {}
        return Volume(name, memory_limit=quantity(spec.get("sizeLimit", "64Mi")) if spec.get("medium") == "Memory" else None)
    if "persistentVolumeClaim" in volume:
        return Volume(name, claim=volume["persistentVolumeClaim"]["claimName"])
    raise ValueError(f"volume {name} is of a kind that this node does not have: {', '.join(volume.keys() - {'name'})}")


def _source(kind: str, spec: Manifest, who: Identity, objects: Objects, account: Files) -> Files:
    match kind:
        case "secret":
            found = _optional(spec, lambda: objects.secret(who.namespace, spec.get("secretName") or spec["name"]))
        case "configMap":
            found = _optional(spec, lambda: objects.config_map(who.namespace, spec["name"]))
        case "serviceAccountToken":
            return {spec.get("path") or "token": account["token"]}
        case "downwardAPI":
            return {item["path"]: _field(item["fieldRef"]["fieldPath"], who).encode() for item in spec.get("items") or ()}
        case _:
            raise ValueError(f"this node has no volumes of {kind}")
    if found is None:
        return {}
    if not spec.get("items"):
        return found
    missing = [item["key"] for item in spec["items"] if item["key"] not in found]
    if missing and not spec.get("optional"):
        raise NotThereError(f"{kind} {spec.get('secretName') or spec.get('name')} has no key {', '.join(missing)}")
    return {item["path"]: found[item["key"]] for item in spec["items"] if item["key"] in found}


def _optional(spec: Manifest, read: Callable[[], Files]) -> Files | None:
    try:
        return read()
    except NotThereError:
        if spec.get("optional"):
            return None
        raise


def _value(source: Manifest, container: Manifest, who: Identity, objects: Objects) -> str | None:
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], who)
    if "resourceFieldRef" in source:
        return _resource(source["resourceFieldRef"], container)
    for kind, read in (("secretKeyRef", objects.secret), ("configMapKeyRef", objects.config_map)):
        if kind in source:
            ref = source[kind]
            found = _optional(ref, partial(read, who.namespace, ref["name"]))
            if found is not None and ref["key"] in found:
                return found[ref["key"]].decode()
            if ref.get("optional"):
                return None
            raise NotThereError(f"{ref['name']} has no key {ref['key']}")
    raise ValueError(f"a variable from {', '.join(source)}")


def _field(path: str, who: Identity) -> str:
    if found := re.fullmatch(r"metadata\.labels\['(.+)'\]", path):
        return who.labels.get(found[1], "")
    return {
        "metadata.name": who.name,
        "metadata.namespace": who.namespace,
        "metadata.uid": who.uid,
        "spec.nodeName": "node",
        "spec.serviceAccountName": who.service_account,
        "status.podIP": who.address,
        "status.podIPs": who.address,
        "status.hostIP": who.node_address,
    }[path]


def _resource(spec: Manifest, container: Manifest) -> str:
    kind, _, name = spec["resource"].partition(".")
    amount = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if amount is None:
        raise ValueError(f"{container['name']} has no {spec['resource']}")
    divisor = spec.get("divisor") or "1"
    thousandths = quantity(str(amount)[:-1]) if str(amount).endswith("m") else quantity(amount) * 1000
    per = quantity(str(divisor)[:-1]) if str(divisor).endswith("m") else quantity(divisor) * 1000
    return str(-(-thousandths // per))
