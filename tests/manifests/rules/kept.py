"""What holds data is deleted by a person and by nobody else, and what a pod still reads goes last."""

from tests.manifests.rules.objects import Objects, namespace_of, of_kind, title

HOLDERS = ("Cluster", "Namespace", "PersistentVolumeClaim", "Tenant")
"""Kinds whose objects take data with them when they go: volumes, or all that stands in them."""
WITH_VOLUMES = "StatefulSet"
SYNC, PRUNE = "argocd.argoproj.io/sync-options", "kustomize.toolkit.fluxcd.io/prune"


def keeping_problems(objects: Objects) -> list[str]:
    """Objects with data that a GitOps tool would delete, and others that it could never take away."""
    found = []
    for o in objects:
        annotations = o["metadata"].get("annotations", {})
        kept = (annotations.get(SYNC), annotations.get(PRUNE)) == ("Prune=false,Delete=false", "disabled")
        if _holds(o) and not kept:
            found.append(f"{title(o)} would be deleted with its data when it is no longer declared")
        if not _holds(o) and (kept or PRUNE in annotations):
            found.append(f"{title(o)} holds nothing, and would stay for ever")
    return found


def _holds(o: dict) -> bool:  # type: ignore[type-arg]
    if o["kind"] == WITH_VOLUMES:
        return bool(o["spec"].get("volumeClaimTemplates"))
    # Without the policy that closes a namespace, what stays in it would be open.
    return o["kind"] in HOLDERS or (o["kind"] == "NetworkPolicy" and o["spec"]["podSelector"] == {})


def pruning_problems(objects: Objects) -> list[str]:
    """Generated ConfigMaps that go before the pods that read them: a pod that ends may take hours."""
    mounted = {
        (namespace_of(o), volume["configMap"]["name"])
        for o in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")
        for volume in o["spec"]["template"]["spec"].get("volumes", [])
        if "configMap" in volume
    }
    return [
        f"{title(o)} is gone while pods that end still read it"
        for o in of_kind(objects, "ConfigMap")
        if (namespace_of(o), o["metadata"]["name"]) in mounted and o["metadata"].get("annotations", {}).get(SYNC) != "PruneLast=true"
    ]
