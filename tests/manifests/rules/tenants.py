"""What MinIO's tenants promise beyond numbers that fit."""

from tests.manifests.rules.objects import Objects, of_kind, title

_SETTINGS = {
    # Its console would be one more way in, with the root user's password.
    "MINIO_BROWSER": "off",
    # Metrics say nothing secret, and the network policies say who may ask.
    "MINIO_PROMETHEUS_AUTH_TYPE": "public",
}


def tenant_problems(objects: Objects) -> list[str]:
    """Tenants with other settings, users or spread than is promised."""
    found = []
    for tenant in of_kind(objects, "Tenant"):
        settings = {variable["name"]: variable["value"] for variable in tenant["spec"].get("env", [])}
        # How many drives may be lost has a rule of its own.
        others = {name: value for name, value in settings.items() if name != "MINIO_STORAGE_CLASS_STANDARD"}
        if others != _SETTINGS:
            found.append(f"{title(tenant)} is set up with {others}")
        names = [pool["name"] for pool in tenant["spec"]["pools"]]
        if names != [f"pool-{number}" for number in range(len(names))]:
            found.append(f"{title(tenant)} has {names}: another name is another pool, with new and empty drives")
        for pool in tenant["spec"]["pools"]:
            pod, container = pool.get("securityContext", {}), pool.get("containerSecurityContext", {})
            users = {context.get(key) for context in (pod, container) for key in ("runAsUser", "runAsGroup")} | {pod.get("fsGroup")}
            if len(users) != 1 or not isinstance(user := users.pop(), int) or not 0 < user < 65_534:
                found.append(f"{title(tenant)}: {pool['name']} has no single user above 0 who also has the drives")
            if not all(c.get("runAsNonRoot") and c.get("seccompProfile") == {"type": "RuntimeDefault"} for c in (pod, container)):
                found.append(f"{title(tenant)}: {pool['name']} leaves its user or its system calls to the operator")
            wishes = pool["affinity"]["podAntiAffinity"].get("preferredDuringSchedulingIgnoredDuringExecution", [])
            found += [f"{title(tenant)}: {pool['name']} hardly wishes to spread" for wish in wishes if wish.get("weight") != 100]
    return found
