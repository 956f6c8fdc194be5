"""Changes that no apply can make: the API server or an operator refuses them, whatever the objects say."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from app.inspection.images import version
from kit.footprint import MOST_NODES, OPERATORS, Share, taken
from kit.quantities import Bytes, Cpu, parse_bytes, parse_cpu
from kit.rendering import Manifest, ObjectId

# kubernetes, pkg/apis/apps/validation: ValidateStatefulSetUpdate.
_STATEFUL_SET_MAY_CHANGE = {
    *("replicas", "template", "updateStrategy", "minReadySeconds", "ordinals"),
    *("persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"),
}


_POOL = re.compile(r"(minio-\w+)-pool-\d+")
"""StatefulSets that are pools of a MinIO without its operator, and its name."""


@frozen
class Refusal:
    """Why something cannot be, with what to do. `keep`: options of site.yaml with which it stays as it is, each by its dotted key."""

    why: str
    keep: Mapping[str, Any] = field(factory=dict, hash=False)

    def __str__(self) -> str:
        """For people."""
        return self.why


def refusal(before: Manifest, after: Manifest) -> Refusal | None:
    """Why the second cannot take the first's place; None if it can."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    check = {"StatefulSet": _stateful_set, "Cluster": _cluster, "Tenant": _tenant, "PersistentVolumeClaim": _claim}.get(after["kind"])
    if check is None or before["apiVersion"].partition("/")[0] != after["apiVersion"].partition("/")[0]:
        return None
    return _joined(list(check(after["metadata"]["name"], old, new)))


def refused_pool(before: Manifest, after: Manifest | None, there: Iterable[Manifest]) -> Refusal | None:
    """Why a StatefulSet cannot take the place of one that is a pool of a MinIO, or why that cannot go; `there`: with what else there is."""
    identity = ObjectId.of(before)
    found = _POOL.fullmatch(identity.name)
    if identity.kind != "StatefulSet" or not found or OPERATORS["Tenant"] in before["spec"]["selector"]["matchLabels"]:
        return refusal(before, after) if after else None
    was, will = _as_pool(before), _as_pool(after) if after else None
    why = ["it cannot be taken away: objects are in it"] if will is None else list(_reshaped(was, will))
    if not why:
        return refusal(before, after) if after else None
    pools = [o for o in there if (match := _POOL.fullmatch(o["metadata"]["name"])) and (_kind(o), match[1]) == (_kind(before), found[1])]
    option = f"storage_sizes.pools.{found[1].removeprefix('minio-')}"
    keep = [_as_pool(o) for o in sorted(pools, key=lambda o: int(o["metadata"]["name"].rpartition("-")[2]))]
    return Refusal(f"{', '.join(why)}; list what there is in {option} of site.yaml", {option: keep})


def _kind(o: Manifest) -> tuple[str, str]:
    return o["kind"], o["metadata"].get("namespace", "")


def _as_pool(o: Manifest) -> dict[str, Any]:
    """A StatefulSet as a site lists a pool."""
    claims = o["spec"]["volumeClaimTemplates"]
    sizes = [str(claim["spec"]["resources"]["requests"]["storage"]) for claim in claims]
    return {"servers": o["spec"]["replicas"], "drives": len(claims), "drive": sizes[0]}


def _reshaped(was: Mapping[str, Any], will: Mapping[str, Any]) -> Iterator[str]:
    for key in ("servers", "drives"):
        if was[key] != will[key]:
            yield f"{key} is {was[key]} for good, not {will[key]}"
    if _smaller(was["drive"], will["drive"]):
        yield f"each drive is {was['drive']} and cannot shrink to {will['drive']}"
    elif was["drive"] != will["drive"]:
        yield f"no apply makes drives of {was['drive']} larger: docs/02-SCALING-GUIDE.md says how they grow"


def refused_pods(before: Iterable[Manifest], quota: Manifest) -> Refusal | None:
    """Why pods that are there could not be replaced under a quota: it admits none while it is exceeded, also none that is smaller."""
    pods, share = taken(before, MOST_NODES).get(quota["metadata"]["namespace"], (0, Share()))
    there: Mapping[str, Any] = {
        "pods": pods,
        "requests.cpu": share.cpu,
        "requests.memory": share.memory,
        "limits.memory": share.memory_limit,
    }
    hard = quota["spec"]["hard"]
    short = [
        f"{key} of {hard[key]} where {most} may be there" for key, most in there.items() if key in hard and _amount(hard[key], most) < most
    ]
    if not short:
        return None
    return Refusal(f"{', '.join(short)}: no pod could be replaced; write shrinking_from in site.yaml until those of before have gone")


def _amount(text: Any, like: Any) -> Any:
    """What a quota says, as an amount of the kind of another."""
    if isinstance(like, Cpu):
        return parse_cpu(text)
    return parse_bytes(text) if isinstance(like, Bytes) else int(text)


def _joined(found: Sequence[Refusal]) -> Refusal | None:
    keep = {key: value for refusal in found for key, value in refusal.keep.items()}
    return Refusal("; ".join(refusal.why for refusal in found), keep) if found else None


def _stateful_set(_: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Refusal]:
    if OPERATORS["Tenant"] in old.get("selector", {}).get("matchLabels", {}):
        yield Refusal("it is MinIO's operator's: docs/02-SCALING-GUIDE.md says how to go on without it")
        return
    fixed = [key for key in {**old, **new} if key not in _STATEFUL_SET_MAY_CHANGE and _told(old.get(key)) != _told(new.get(key))]
    if fixed:
        keys = ", ".join(sorted(fixed))
        yield Refusal(
            f"{keys} of a StatefulSet cannot be changed: kubectl delete statefulset --cascade=orphan, then apply; the pods and volumes stay"
        )


def _told(value: Any) -> Any:
    """A claim as it was given: an API server adds to it what it is otherwise, and its state."""
    if isinstance(value, list):
        return [_told(item) for item in value]
    if isinstance(value, Mapping) and "accessModes" in (value.get("spec") or {}):
        spec = value["spec"]
        return {"name": value["metadata"]["name"], **{key: spec.get(key) for key in ("accessModes", "resources", "storageClassName")}}
    return value


def _cluster(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Refusal]:
    # cloudnative-pg, internal/webhook/v1/cluster_webhook.go: validateStorageChange, validateWalStorageChange.
    for key, option in (("storage", "database"), ("walStorage", "write_ahead_log")):
        was, will = old.get(key), new.get(key)
        if was and not will:
            yield Refusal(f"{key} cannot be taken away")
        elif was and will and _smaller(was.get("size"), will.get("size")):
            yield _stays(f"{key} is", was["size"], will["size"], f"{option}{'_li' if name.endswith('-li') else ''}")
    # The same file: validateImageChange.
    majors = [version(spec.get("imageName", ""))[:1] for spec in (old, new)]
    if all(majors) and majors[1] < majors[0]:
        yield Refusal(
            "PostgreSQL {} cannot become {}: docs/05-BACKUP-RESTORE.md leads back, by a backup of before".format(*sum(majors, ()))
        )


def _tenant(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Refusal]:
    # minio/operator, pkg/controller: main-controller.go (syncTenant), pvc.go (ExpandPVCs). The sets of a pool are fixed when it is formatted.
    pools = {pool["name"]: pool for pool in new.get("pools", [])}
    option = f"storage_sizes.pools.{name.removeprefix('minio-')}"
    why = [reason for was in old.get("pools", []) for reason in _pool(was, pools.get(was["name"]))]
    if why:
        keep = [{"servers": p["servers"], "drives": p["volumesPerServer"], "drive": _claimed(p)} for p in old["pools"]]
        yield Refusal(f"{', '.join(why)}; list what there is in {option} of site.yaml", {option: keep})


def _pool(was: Mapping[str, Any], will: Mapping[str, Any] | None) -> Iterator[str]:
    name = was["name"]
    if will is None:
        yield f"{name} cannot be taken away"
        return
    for key in ("servers", "volumesPerServer"):
        if was[key] != will[key]:
            yield f"{key} of {name} is {was[key]} for good, not {will[key]}"
    if _smaller(_claimed(was), _claimed(will)):
        yield f"drives of {name} are {_claimed(was)} and cannot shrink to {_claimed(will)}"


def _claim(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Refusal]:
    # kubernetes, pkg/apis/core/validation: ValidatePersistentVolumeClaimUpdate.
    was, will = ((spec.get("resources") or {}).get("requests", {}).get("storage") for spec in (old, new))
    if _smaller(was, will):
        option = {"prometheus-data": "metrics"}.get(name)
        yield _stays("it is", was, will, option) if option else Refusal(f"it is {was} and cannot shrink to {will}")


def _stays(what: str, was: str, will: str, option: str) -> Refusal:
    return Refusal(
        f"{what} {was} and cannot shrink to {will}: write storage_sizes: {{{option}: {was}}} in site.yaml", {f"storage_sizes.{option}": was}
    )


def _claimed(pool: Mapping[str, Any]) -> str:
    return str(pool["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"])


def _smaller(was: str | None, will: str | None) -> bool:
    return bool(was and will) and parse_bytes(str(will)) < parse_bytes(str(was))
