"""What a namespace may take of the cluster: a quota that admits what the platform declares and little more, and a pod's share by default."""

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.installation import Installation
from kit.pods import quantity
from kit.quantities import Bytes, Cpu, Resources, mib, millicores

UNDECLARED = Resources(millicores(25), mib(64), mib(256))
"""What a container gets that says nothing itself: a sidecar of the MinIO operator, a container that a person starts to look around."""

SPARE_PODS = 10
"""Pods beyond those declared, of the size of `UNDECLARED`: cert-manager's, one for each host of which it proves the possession to an
ACME authority (10m, 64Mi: cert-manager, internal/apis/config/controller/v1alpha1/defaults.go), and those of people."""


@frozen
class Quota:
    """The most of a namespace: pods, the sums of their requests and of their memory limits, and their volumes."""

    namespace: str
    pods: int
    cpu: Cpu
    memory: Bytes
    memory_limit: Bytes
    storage: Bytes
    volumes: int


class Quotas(Component):
    """One ResourceQuota and one LimitRange for each namespace, beside it.

    There is no limit of processor time, neither as a sum nor by default: throttled, a single-threaded process answers late.
    """

    folder = "."

    def __init__(self, installation: Installation, quotas: tuple[Quota, ...]) -> None:
        super().__init__(installation, "quotas", quotas[0].namespace)
        for quota in quotas:
            hard = {
                "pods": quantity(quota.pods),
                "persistentvolumeclaims": quantity(quota.volumes),
                "requests.cpu": quantity(quota.cpu),
                "requests.memory": quantity(quota.memory),
                "requests.storage": quantity(quota.storage),
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
