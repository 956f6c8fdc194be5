"""What lies between two sets of rendered objects: which are new, gone or different, in which fields, and what that does to pods."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import frozen

from app.inspection.refusals import Refusal, refused_pods, refused_pool
from kit.rendering import Manifest, ObjectId

# What Kustomize adds to the names of ConfigMaps (kustomize, api/hasher: five bits a letter, without vowels), and kit.component to those of Jobs.
_CONFIG_MAP_DIGEST = re.compile(r"-[bcdfghkmt2456789]{10}$")
_JOB_DIGEST = re.compile(r"-[0-9a-f]{10}$")
# What an API server or its controllers write.
_WRITTEN_BY_OTHERS = {
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
    "ownerReferences",
    "finalizers",
}
_NAMED = ("name", "mountPath", "containerPort", "port")
_INSTANCES = "spec.instances"
_IN_PLACE = ("metadata.", "spec.storage.size", "spec.walStorage.size", "spec.storage.resizeInUseVolumes", _INSTANCES)
"""Fields of a Cluster of CloudNativePG with which no instance is replaced."""
_PARAMETERS = "spec.postgresql.parameters."
READ_AT_START = """
archive_mode autovacuum_freeze_max_age autovacuum_multixact_freeze_max_age autovacuum_worker_slots bonjour bonjour_name cluster_name
commit_timestamp_buffers data_directory data_sync_retry dynamic_shared_memory_type event_source external_pid_file hba_file hot_standby
huge_page_size huge_pages ident_file io_max_combine_limit io_max_concurrency io_method jit_provider listen_addresses logging_collector
max_active_replication_origins max_connections max_files_per_process max_locks_per_transaction max_logical_replication_workers
max_notify_queue_pages max_pred_locks_per_transaction max_prepared_transactions max_replication_slots max_wal_senders
max_worker_processes min_dynamic_shared_memory multixact_member_buffers multixact_offset_buffers notify_buffers port recovery_target
recovery_target_action recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time recovery_target_timeline
recovery_target_xid reserved_connections serializable_buffers shared_buffers shared_memory_type shared_preload_libraries
subtransaction_buffers superuser_reserved_connections track_activity_query_size track_commit_timestamp transaction_buffers
unix_socket_directories unix_socket_group unix_socket_permissions wal_buffers wal_decode_buffer_size wal_level wal_log_hints
"""
"""Parameters of PostgreSQL 18 that a running server does not read again (`postgres --describe-config`: postmaster): CloudNativePG replaces the
instances for these, and has all others read at once (documentation, postgresql_conf.md, "Changing configuration")."""


class Action(Enum):
    """What becomes of an object."""

    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"


class Effect(Enum):
    """What that does to its pods."""

    NONE = "in place"
    STARTS = "pods start"
    RESTARTS = "pods are replaced, one after another"
    GROWS = "more pods"
    SHRINKS = "fewer pods"
    RUNS = "runs once"
    ENDS = "pods end"
    REFUSED = "refused"


_RUN_PODS = {"StatefulSet", "Deployment", "DaemonSet", "Cluster", "Tenant"}


@frozen
class Field:
    """A field by its path, such as `spec.template.spec.containers[synapse].image`, before and after. None: it is not there."""

    path: str
    before: Any
    after: Any


@frozen
class Change:
    """What becomes of one object. `identity`: without the digest that a generated name ends in. `refused`: why it cannot be, if it cannot."""

    identity: ObjectId
    action: Action
    effect: Effect
    component: str
    wave: int
    fields: tuple[Field, ...] = ()
    refused: Refusal | None = None


def changes(before: Iterable[Manifest], after: Iterable[Manifest]) -> tuple[Change, ...]:
    """All differences, in the order of the steps in which a GitOps tool applies them, then of the objects' names."""
    there = list(before)
    old, new = _by_identity(there), _by_identity(after)
    found = []
    for identity in {**old, **new}:
        was, will = old.get(identity), new.get(identity)
        if was is not None and will is not None:
            fields = tuple(sorted(differences(_content(was), _content(will)), key=lambda field: field.path))
            if fields:
                refused = refused_pods(there, will) if identity.kind == "ResourceQuota" else refused_pool(was, will, there)
                effect = Effect.REFUSED if refused else _effect(identity, fields)
                found.append(Change(identity, Action.CHANGED, effect, _component(will), _step(will), fields, refused))
        elif will is not None:
            effect = Effect.STARTS if identity.kind in _RUN_PODS else Effect.RUNS if identity.kind == "Job" else Effect.NONE
            found.append(Change(identity, Action.NEW, effect, _component(will), _step(will)))
        elif was is not None:
            # Where the first pool goes, too, the store itself is another one.
            whole = ObjectId(identity.kind, identity.namespace, f"{identity.name.rpartition('-')[0]}-0") not in new
            refused = None if whole else refused_pool(was, None, there)
            effect = Effect.REFUSED if refused else Effect.ENDS if identity.kind in _RUN_PODS else Effect.NONE
            found.append(Change(identity, Action.GONE, effect, _component(was), _step(was), refused=refused))
    return tuple(sorted(found, key=lambda change: (change.wave, change.component, change.identity)))


def differences(before: Any, after: Any, path: str = "") -> Iterator[Field]:
    """The smallest fields in which two values differ. Items of a list that have names are compared by name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list) and (key := _name_key([*before, *after])):
        old, new = {item[key]: item for item in before}, {item[key]: item for item in after}
        for name in {**old, **new}:
            yield from differences(old.get(name), new.get(name), f"{path}[{name}]")
    elif before != after:
        yield Field(path, before, after)


def identity_of(manifest: Manifest) -> ObjectId:
    """An object's identity without the digest that its name ends in where it is generated."""
    identity = ObjectId.of(manifest)
    digest = {"ConfigMap": _CONFIG_MAP_DIGEST, "Job": _JOB_DIGEST}.get(identity.kind)
    return ObjectId(identity.kind, identity.namespace, digest.sub("", identity.name)) if digest else identity


def _by_identity(objects: Iterable[Manifest]) -> dict[ObjectId, Manifest]:
    return {identity_of(o): o for o in objects}


def _content(manifest: Manifest) -> Manifest:
    """What an object says, without what others write into it; a Job by its name, which ends in a digest of what it runs."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _WRITTEN_BY_OTHERS}
    if manifest["kind"] == "Job":
        return {"metadata": metadata}  # with its name
    if manifest["kind"] == "ConfigMap":
        metadata = {key: value for key, value in metadata.items() if key != "name"}
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}


def _name_key(items: Sequence[Any]) -> str | None:
    """The field by which the items of a list are told apart, if there is one."""
    for key in _NAMED:
        if items and all(isinstance(item, Mapping) and isinstance(item.get(key), str | int) for item in items):
            return key
    return None


def _effect(identity: ObjectId, fields: Sequence[Field]) -> Effect:
    paths = [field.path for field in fields]
    match identity.kind:
        case "Job":
            return Effect.RUNS if "metadata.name" in paths else Effect.NONE
        case "StatefulSet" | "Deployment" | "DaemonSet":
            if any(path.startswith("spec.template.") for path in paths):
                return Effect.RESTARTS
            return _scaled(fields, "spec.replicas")
        case "Cluster":
            if any(not _is_in_place(path) for path in paths):
                return Effect.RESTARTS
            return _scaled(fields, _INSTANCES)
        case "Tenant":
            return Effect.RESTARTS if any(path.startswith("spec.") for path in paths) else Effect.NONE
    return Effect.NONE


def _is_in_place(path: str) -> bool:
    """Whether no instance of a Cluster is replaced for this field."""
    name = path.removeprefix(_PARAMETERS)
    return path.startswith(_IN_PLACE) or (name != path and name not in READ_AT_START.split())


def _scaled(fields: Sequence[Field], path: str) -> Effect:
    for field in fields:
        if field.path == path and isinstance(field.before, int) and isinstance(field.after, int):
            return Effect.GROWS if field.after > field.before else Effect.SHRINKS
    return Effect.NONE


def _component(manifest: Manifest) -> str:
    labels: Mapping[str, str] = manifest["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/name", "")


def _step(manifest: Manifest) -> int:
    """The step of an object as its annotation says; what comes first has none."""
    annotations: Mapping[str, str] = manifest["metadata"].get("annotations") or {}
    return int(annotations.get("argocd.argoproj.io/sync-wave", "1"))
