"""Which pods there should be: the controllers of StatefulSets, Deployments, DaemonSets and Jobs, as pure functions."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from kit.footprint import AUTOSCALERS

Manifest = Mapping[str, Any]
KINDS = ("StatefulSet", "Deployment", "DaemonSet", "Job")


@frozen
class Workload:
    """A workload, and how many pods it should have."""

    kind: str
    namespace: str
    name: str
    replicas: int
    manifest: Manifest
    first: int = 0
    """Ordinal of a StatefulSet's first pod."""

    @property
    def template(self) -> Manifest:
        """What its pods are made from."""
        template: Manifest = self.manifest["spec"]["template"]
        return template

    @property
    def revision(self) -> str:
        """Another one when the template is another."""
        return hashlib.sha256(json.dumps(self.template, sort_keys=True).encode()).hexdigest()[:10]

    def labels_of(self, name: str) -> dict[str, str]:
        """The labels of one of its pods."""
        labels = dict((self.template.get("metadata") or {}).get("labels") or {})
        if self.kind == "StatefulSet":
            labels |= {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": name.rpartition("-")[2]}
        if self.kind == "Job":
            labels |= {"batch.kubernetes.io/job-name": self.name, "job-name": self.name}
        return labels

    def claims_of(self, name: str) -> dict[str, str]:
        """The claims of one of its pods, by volume."""
        listed = self.manifest["spec"].get("volumeClaimTemplates") or ()
        return {claim["metadata"]["name"]: f"{claim['metadata']['name']}-{name}" for claim in listed}


@frozen
class PodState:
    """A pod as its controller sees it."""

    name: str
    revision: str
    ready: bool
    leaving: bool = False
    phase: str = "Running"


@frozen
class Plan:
    """What a controller does next: pods to make, and pods to end."""

    create: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


def read_workloads(objects: Iterable[Manifest], scaled: Mapping[tuple[str, str], int]) -> dict[tuple[str, str, str], Workload]:
    """All workloads by kind, namespace and name. `scaled`: number of pods by namespace and name, instead of what the objects say.

    A workload that leaves its number to an autoscaler has the autoscaler's least: nothing here measures load.
    """
    listed = list(objects)
    least = {
        (target["kind"], o["metadata"].get("namespace", "default"), target["name"]): o["spec"].get(AUTOSCALERS[o["kind"]][0], 1)
        for o in listed
        if o["kind"] in AUTOSCALERS
        for target in [o["spec"]["scaleTargetRef"]]
    }
    found = {}
    for o in listed:
        if o["kind"] in KINDS:
            key = (o["kind"], o["metadata"].get("namespace", "default"), o["metadata"]["name"])
            said = o["spec"].get("replicas", least.get(key, 1)) if o["kind"] in ("StatefulSet", "Deployment") else 1
            first = (o["spec"].get("ordinals") or {}).get("start", 0)
            found[key] = Workload(*key, scaled.get(key[1:], said), o, first)
    return found


def plan(workload: Workload, pods: Sequence[PodState], taken: int = 0) -> Plan:
    """What the controller of a workload does about its pods. `taken`: how many pods it has had, which gave them their numbers."""
    match workload.kind:
        case "StatefulSet":
            return _stateful_set(workload, pods)
        case "Job":
            # A pod that has failed stays, to be looked at; the next one tries again.
            tries = workload.manifest["spec"].get("backoffLimit", 6) + 1
            wanted = all(pod.phase == "Failed" for pod in pods) and taken < tries
            return Plan(create=(f"{workload.name}-{taken}",)) if wanted else Plan()
        case _:
            return _deployment(workload, pods, taken)


def _stateful_set(workload: Workload, pods: Sequence[PodState]) -> Plan:
    wanted = [f"{workload.name}-{ordinal}" for ordinal in range(workload.first, workload.first + workload.replicas)]
    present = {pod.name: pod for pod in pods}
    surplus = sorted((pod for pod in pods if pod.name not in wanted and not pod.leaving), key=_ordinal, reverse=True)
    missing = [name for name in wanted if name not in present]
    in_order = workload.manifest["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    if in_order:
        before = wanted[: wanted.index(missing[0])] if missing else wanted
        missing = missing[:1] if all(present[name].ready for name in before) else []
        surplus = surplus[:1]
    settled = len(present) == len(wanted) and all(pod.ready and not pod.leaving for pod in pods)
    outdated = sorted((pod for pod in pods if pod.revision != workload.revision and not pod.leaving), key=_ordinal, reverse=True)
    # A pod that is not ready and outdated stands in nobody's way; else one at a time, when all others are ready.
    rolled = [pod.name for pod in outdated if not pod.ready][:1] or ([outdated[0].name] if outdated and settled else [])
    if (workload.manifest["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        rolled = []
    return Plan(tuple(missing), tuple(dict.fromkeys([*(pod.name for pod in surplus), *rolled])))


def _ordinal(pod: PodState) -> int:
    return int(pod.name.rpartition("-")[2])


def _deployment(workload: Workload, pods: Sequence[PodState], taken: int) -> Plan:
    strategy = workload.manifest["spec"].get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    surge = _part(rolling.get("maxSurge", "25%"), workload.replicas, up=True)
    missing_allowed = _part(rolling.get("maxUnavailable", "25%"), workload.replicas, up=False)
    staying = [pod for pod in pods if not pod.leaving]
    current = [pod for pod in staying if pod.revision == workload.revision]
    outdated = [pod for pod in staying if pod.revision != workload.revision]
    if strategy.get("type") == "Recreate":
        if outdated:
            return Plan(delete=tuple(pod.name for pod in outdated))
        surge = 0
    room = workload.replicas + (surge if outdated else 0) - len(staying)
    create = tuple(f"{workload.name}-{taken + index}" for index in range(max(0, min(room, workload.replicas - len(current)))))
    surplus = [pod.name for pod in sorted(current, key=lambda pod: pod.ready)][: max(0, len(current) - workload.replicas)]
    spare = sum(pod.ready for pod in staying) - (workload.replicas - missing_allowed)
    unready = [pod.name for pod in outdated if not pod.ready]
    ready = [pod.name for pod in outdated if pod.ready][: max(0, spare)]
    return Plan(create, (*surplus, *unready, *ready))


def _part(amount: int | str, whole: int, up: bool) -> int:
    if isinstance(amount, int):
        return amount
    share = int(amount.removesuffix("%")) * whole
    return -(-share // 100) if up else share // 100
