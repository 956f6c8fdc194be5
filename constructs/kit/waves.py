"""In which order the objects of an installation come where somebody waits for each to be healthy: an annotation for Argo CD.

What comes first has none: Argo CD takes it for 0, and every object of a tree is read faster without.

`kubectl apply -k` sends everything at once, and what comes too early waits; a GitOps tool can bring up one step after the other.
"""

from kit.rendering import Manifest

WAVE = "argocd.argoproj.io/sync-wave"
WAVES = {
    1: "namespaces, rights, policies and configuration",
    2: "databases, Redis and object storage",
    3: "the main instance",
    4: "the lawful-interception instance",
    5: "the antivirus",
    6: "monitoring",
}
"""What comes in each."""
_FIRST = min(WAVES)

_OF_LAYER = {"infrastructure": 2, "main-instance": 3, "li-instance": 4, "antivirus": 5, "monitoring": 6}
_AT_ONCE = {
    *("Namespace", "PriorityClass", "LimitRange", "ResourceQuota", "NetworkPolicy"),
    *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    *("ConfigMap", "Service", "PodDisruptionBudget"),
}
"""What others are made for, and nobody has to wait for: a Service without pods is healthy, a pod without its ConfigMap is not."""
_SECRETS = {"ExternalSecret", "SecretStore", "ClusterSecretStore"}
_WAY_IN = {"Certificate", "Issuer", "ClusterIssuer", "Ingress", "HTTPRoute", "Middleware", "TLSOption"}
"""With the first that is reached from outside: a certificate by ACME is issued when DNS leads here, and nothing that it stands on waits for that."""


def wave(file: str, kind: str) -> int:
    """The step of an object by its kind and the file that it stands in, below `dist/base`."""
    if kind in _AT_ONCE:
        return _FIRST
    if kind in _SECRETS:
        return 2
    if kind in _WAY_IN:
        return 3
    return _OF_LAYER.get(file.partition("/")[0], _FIRST)


def with_wave(file: str, manifest: Manifest) -> Manifest:
    """The same object with its step."""
    metadata, step = manifest["metadata"], wave(file, manifest["kind"])
    if step == _FIRST:
        return manifest
    annotations = {**metadata.get("annotations", {}), WAVE: str(step)}
    rest = {key: value for key, value in metadata.items() if key != "annotations"}
    return {**manifest, "metadata": {"annotations": dict(sorted(annotations.items())), **rest}}
