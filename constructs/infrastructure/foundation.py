"""What everything else stands in: the namespaces, their pod security, and the order of eviction."""

from typing import Literal

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component, Priority
from kit.installation import Installation
from kit.place import Place
from kit.rendering import ObjectId

PodSecurity = Literal["restricted", "baseline", "privileged"]


@frozen
class Namespace:
    """A namespace and the Pod Security level that it enforces.

    Anything but `restricted` needs a reason, which stands as an annotation where people look for it.
    """

    name: str
    pod_security: PodSecurity = "restricted"
    reason: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.pod_security != "restricted" and not self.reason:
            raise ValueError(f"namespace {self.name} is {self.pod_security} without a reason")


class Foundation(Component):
    """Namespaces with Pod Security labels, and two priority classes: data is evicted after messaging, messaging after the rest."""

    directory = ""

    def __init__(self, installation: Installation, place: Place, namespaces: tuple[Namespace, ...]) -> None:
        super().__init__(installation, "foundation", place)
        for namespace in namespaces:
            security = {f"pod-security.kubernetes.io/{mode}": namespace.pod_security for mode in ("enforce", "audit", "warn")}
            self.add(
                "namespace.yaml",
                k8s.KubeNamespace,
                namespace.name,
                cluster_wide=True,
                extra_labels=security,
                annotations={"matrix-platform/pod-security-reason": namespace.reason} if namespace.reason else None,
            )
            # Its volumes would go with it.
            installation.keep(ObjectId("Namespace", "", namespace.name))
        for priority, value in ((Priority.DATA, 1_000_000), (Priority.MESSAGING, 500_000)):
            name = installation.facts.cluster_wide(priority.value)
            self.add("namespace.yaml", k8s.KubePriorityClass, name, cluster_wide=True, value=value)
