"""Changes that no apply can make: the API server or an operator refuses them, whatever the objects say."""

from collections.abc import Iterator, Mapping
from typing import Any

from kit.quantities import parse_bytes
from kit.rendering import Manifest

# kubernetes, pkg/apis/apps/validation: ValidateStatefulSetUpdate.
_STATEFUL_SET_MAY_CHANGE = {
    *("replicas", "template", "updateStrategy", "minReadySeconds", "ordinals"),
    *("persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"),
}


def refusal(before: Manifest, after: Manifest) -> str | None:
    """Why the second cannot take the first's place, and what to do; None if it can."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    check = {"StatefulSet": _stateful_set, "Cluster": _cluster, "Tenant": _tenant, "PersistentVolumeClaim": _claim}.get(after["kind"])
    if check is None or before["apiVersion"].partition("/")[0] != after["apiVersion"].partition("/")[0]:
        return None
    return "; ".join(check(old, new)) or None


def _stateful_set(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    fixed = [key for key in {**old, **new} if key not in _STATEFUL_SET_MAY_CHANGE and _told(old.get(key)) != _told(new.get(key))]
    if fixed:
        keys = ", ".join(sorted(fixed))
        yield f"{keys} of a StatefulSet cannot be changed: kubectl delete statefulset --cascade=orphan, then apply; the pods and volumes stay"


def _told(value: Any) -> Any:
    """A claim as it was given: an API server adds to it what it is otherwise, and its state."""
    if isinstance(value, list):
        return [_told(item) for item in value]
    if isinstance(value, Mapping) and "accessModes" in (value.get("spec") or {}):
        spec = value["spec"]
        return {"name": value["metadata"]["name"], **{key: spec.get(key) for key in ("accessModes", "resources", "storageClassName")}}
    return value


def _cluster(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    # cloudnative-pg, internal/webhook/v1/cluster_webhook.go: validateStorageChange, validateWalStorageChange.
    for key in ("storage", "walStorage"):
        was, will = old.get(key), new.get(key)
        if was and not will:
            yield f"{key} cannot be taken away"
        elif was and will and _smaller(was.get("size"), will.get("size")):
            yield f"{key} is {was['size']} and cannot shrink to {will['size']}: give storage_sizes in site.yaml, or stay"


def _tenant(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    # minio/operator, pkg/controller: main-controller.go (syncTenant), pvc.go (ExpandPVCs). The sets of a pool are fixed when it is formatted.
    pools = {pool["name"]: pool for pool in old.get("pools", [])}
    for pool in new.get("pools", []):
        was = pools.get(pool["name"])
        for key in ("servers", "volumesPerServer"):
            if was and was[key] != pool[key]:
                yield f"{key} of {pool['name']} is {was[key]} for good, not {pool[key]}: keep the old minio in a profile of your own"
        if was and _smaller(_claimed(was), _claimed(pool)):
            yield f"drives of {pool['name']} are {_claimed(was)} and cannot shrink to {_claimed(pool)}: give storage_sizes in site.yaml, or stay"


def _claim(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    was, will = ((spec.get("resources") or {}).get("requests", {}).get("storage") for spec in (old, new))
    if _smaller(was, will):
        yield f"a volume of {was} cannot shrink to {will}"


def _claimed(pool: Mapping[str, Any]) -> str:
    return str(pool["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"])


def _smaller(was: str | None, will: str | None) -> bool:
    return bool(was and will) and parse_bytes(str(will)) < parse_bytes(str(was))
