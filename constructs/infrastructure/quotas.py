"""What a namespace may take of the cluster: a quota that admits what the platform declares and little more, and a pod's share by default."""

from collections.abc import Iterable, Iterator

from attrs import fields, frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.footprint import MOST_NODES, UNDECLARED, Share, taken
from kit.installation import Installation
from kit.place import Place
from kit.pods import quantity
from kit.quantities import Bytes, Cpu
from kit.rendering import Manifest

SPARE_PODS = 10
"""Pods beyond those declared, of the size of `UNDECLARED`: cert-manager's, one for each host of which it proves the possession to an
ACME authority (10m, 64Mi: cert-manager, internal/apis/config/controller/v1alpha1/defaults.go), and those of people."""


@frozen
class Quota:
    """The most of a namespace: pods, the sums of their requests and of their memory limits."""

    namespace: str
    pods: int
    cpu: Cpu
    memory: Bytes
    memory_limit: Bytes


def quotas(manifests: Iterable[Manifest], nodes: int = MOST_NODES) -> tuple[Quota, ...]:
    """For each namespace of the platform, what its pods take at the most: a DaemonSet on each of `nodes`, and every Job at once."""
    objects = list(manifests)
    total = taken(objects, nodes)
    spare = Share(UNDECLARED.cpu, UNDECLARED.memory, UNDECLARED.memory_limit) * SPARE_PODS
    return tuple(
        Quota(name, pods + SPARE_PODS, share.cpu, share.memory, share.memory_limit)
        for name in (o["metadata"]["name"] for o in objects if o["kind"] == "Namespace")
        for pods, share in [(total[name][0], total[name][1] + spare) if name in total else (0, spare)]
    )


def widest(ours: Iterable[Quota], theirs: Iterable[Quota]) -> Iterator[Quota]:
    """For each of our namespaces a quota that admits what either does."""
    others = {quota.namespace: quota for quota in theirs}
    for own in ours:
        other = others.get(own.namespace, own)
        most = (max(getattr(own, field.name), getattr(other, field.name)) for field in fields(Quota)[1:])
        yield Quota(own.namespace, *most)


class Quotas(Component):
    """One ResourceQuota and one LimitRange for each namespace, beside it: for all that has been declared before, and what is `left`.

    There is no limit of processor time, neither as a sum nor by default: throttled, a single-threaded process answers late. None of volumes either:
    Argo CD (`ServerSideDiff`) and Flux (fluxcd/pkg, ssa/manager_apply.go) ask the API server about every object before they apply the first, and a
    claim that is to grow would be refused by the quota of before, for ever.
    """

    directory = ""

    def __init__(self, installation: Installation, place: Place, left: Iterable[Manifest]) -> None:
        super().__init__(installation, "quotas", place)
        for quota in widest(quotas(installation.rendering().manifests()), quotas(left)):
            hard = {
                "pods": quantity(quota.pods),
                "requests.cpu": quantity(quota.cpu),
                "requests.memory": quantity(quota.memory),
                "limits.memory": quantity(quota.memory_limit),
            }
            self._add(k8s.KubeResourceQuota, quota.namespace, k8s.ResourceQuotaSpec(hard=hard))
            # A namespace with a quota refuses pods that do not say what they take.
            container = k8s.LimitRangeItem(
                type="Container",
                default_request={"cpu": quantity(UNDECLARED.cpu), "memory": quantity(UNDECLARED.memory)},
                default={"memory": quantity(UNDECLARED.memory_limit)},
            )
            self._add(k8s.KubeLimitRange, quota.namespace, k8s.LimitRangeSpec(limits=[container]))

    def _add(self, kind: type[k8s.KubeResourceQuota | k8s.KubeLimitRange], namespace: str, spec: object) -> None:
        self.installation.add(self, "namespace.yaml", kind, name="platform", namespace=namespace, labels=self.labels(), spec=spec)
