"""MinIO by its operator: a tenant of its own for each instance."""

from collections.abc import Sequence
from typing import Any

from cdk8s_plus_34 import k8s

from infrastructure.object_storage.options import MinioOptions
from infrastructure.object_storage.size import ErasureSize
from infrastructure.object_storage.store import MOUNT, SETTINGS, Store
from infrastructure.operators import MINIO_OPERATOR
from kit.component import Component, Priority
from kit.footprint import OPERATORS
from kit.images import image
from kit.installation import Installation
from kit.objects import CustomResource
from kit.place import Place
from kit.placement import Placement
from kit.pods import int_or_string


class Tenant(CustomResource):
    """The Tenant kind of the MinIO operator. Its typed class is not generated: the CRD is AGPL-3.0."""

    resource_version = "minio.min.io/v2"
    resource_kind = "Tenant"


class MinioOperatorRelease(Component):
    """The release of the operator that the Tenants are made for, by reference, for tools that install it."""

    directory = "03-minio"

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, "minio-operator-release", place)
        self.add("operator.yaml", k8s.KubeConfigMap, self.name, data=MINIO_OPERATOR.release())


class MinioTenant(Store):
    """A Tenant, of which MinIO's operator makes the servers, and the Services `minio` and `<name>-hl` (minio/operator, names.go)."""

    pods_label = OPERATORS["Tenant"]

    def __init__(self, installation: Installation, place: Place, pools: Sequence[ErasureSize], options: MinioOptions, holds: str) -> None:
        super().__init__(installation, place)
        file = f"{place.instance}-tenant.yaml"
        self.add(file, Tenant, self.name, tuning=self.tuned(file, "image", "pools", "env"), spec=self._tenant(pools, options))
        # The operator makes none. Two servers away at once would stop writes.
        budget = k8s.PodDisruptionBudgetSpec(
            max_unavailable=int_or_string(1),
            unhealthy_pod_eviction_policy="AlwaysAllow",
            selector=k8s.LabelSelector(match_labels=dict(self.pods.labels)),
        )
        self.add(file, k8s.KubePodDisruptionBudget, self.name, spec=budget)
        self.connect(MINIO_OPERATOR.pods, self.api)
        self.calls_api_server(self.pods)
        self.keeps(holds, f"Tenant {self.name}", self.restored)

    def _pool(self, number: int, size: ErasureSize, options: MinioOptions) -> dict[str, Any]:
        """One that is never changed: the operator makes pods, and MinIO finds drives, by its number."""
        facts, image_user, placement = self.installation.facts, image("minio").user, self.placement(self.name)
        resources = placement.resources.over(size.resources)
        claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(size.drive)}}}
        if facts.storage_classes.object_storage:
            claim["storageClassName"] = facts.storage_classes.object_storage
        return {
            "name": f"pool-{number}",
            "servers": size.nodes,
            "volumesPerServer": size.drives,
            "volumeClaimTemplate": {"metadata": {"name": "data"}, "spec": claim},
            "resources": {
                "requests": {"cpu": str(resources.cpu), "memory": str(resources.memory)},
                "limits": {"memory": str(resources.memory_limit)},
            },
            "affinity": {"podAntiAffinity": _apart(dict(self.pods.labels), options.one_server_per_node), **_on_nodes(placement)},
            **({} if options.one_server_per_node else {"topologySpreadConstraints": [self._spread(f"pool-{number}", size)]}),
            **({"nodeSelector": dict(placement.node_selector)} if placement.node_selector else {}),
            **({"tolerations": _tolerations(placement)} if placement.tolerations else {}),
            **({"annotations": dict(placement.annotations)} if placement.annotations else {}),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": image_user,
                "runAsGroup": image_user,
                "fsGroup": image_user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containerSecurityContext": {
                "runAsNonRoot": True,
                "runAsUser": image_user,
                "runAsGroup": image_user,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }

    def _spread(self, pool: str, size: ErasureSize) -> dict[str, Any]:
        """As kit/pods.py spreads pods of which some may be lost. The operator gives each pod the label of its pool."""
        return {
            "maxSkew": size.servers_to_lose,
            "minDomains": 2,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {**dict(self.pods.labels), "v1.min.io/pool": pool}},
        }

    def _tenant(self, pools: Sequence[ErasureSize], options: MinioOptions) -> dict[str, Any]:
        facts, placement = self.installation.facts, self.placement(self.name)
        tenant: dict[str, Any] = {
            "image": options.image or facts.pulls(image("minio")),
            "imagePullPolicy": "IfNotPresent",
            "configuration": {"name": self.root.name},
            "requestAutoCert": False,
            "podManagementPolicy": "Parallel",
            "mountPath": MOUNT,
            "priorityClassName": placement.priority_class or facts.cluster_wide(Priority.DATA.value),
            "env": [
                # Fixed when the first drive is formatted; MinIO refuses to start where the set is too small for it.
                {"name": "MINIO_STORAGE_CLASS_STANDARD", "value": f"EC:{pools[0].parity}"},
                *({"name": name, "value": value} for name, value in SETTINGS.items()),
                *({"name": name, "value": value} for name, value in placement.env),
            ],
            "pools": [self._pool(number, pool, options) for number, pool in enumerate(pools)],
        }
        if facts.images.pull_secrets:
            tenant["imagePullSecret"] = {"name": facts.images.pull_secrets[0]}
        return tenant


def _on_nodes(placement: Placement) -> dict[str, Any]:
    wanted = [{"key": label, "operator": "In", "values": list(values)} for label, values in placement.affinity]
    terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}} if wanted else {}


def _tolerations(placement: Placement) -> list[dict[str, str]]:
    found = [
        {"key": t.key, "operator": "Equal" if t.value else "Exists", "value": t.value, "effect": t.effect} for t in placement.tolerations
    ]
    return [{name: str(value) for name, value in toleration.items() if value} for toleration in found]


def _apart(labels: dict[str, str], required: bool) -> dict[str, Any]:
    """The rule that keeps the servers of a tenant on different nodes, or the wish.

    On three nodes two must share one, and a server whose volumes are local could never start again where another one already is.
    """
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    if required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
