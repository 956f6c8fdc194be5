"""What MinIO promises beyond numbers that fit, with its operator and without."""

import re
from itertools import groupby

from tests.manifests.rules.objects import Objects, namespace_of, of_kind, title

_SETTINGS = {
    # Its console would be one more way in, with the root user's password.
    "MINIO_BROWSER": "off",
    # Metrics say nothing secret, and the network policies say who may ask.
    "MINIO_PROMETHEUS_AUTH_TYPE": "public",
    # What runs is what the image has.
    "MINIO_UPDATE": "off",
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


POOL = re.compile(r"(minio-\w+)-pool-(\d+)")


def pool_problems(objects: Objects) -> list[str]:
    """Stores without an operator whose servers are not told of all drives by the names that pods have, or are set up otherwise than promised."""
    pools = [
        (namespace_of(o), found[1], int(found[2]), o)
        for o in of_kind(objects, "StatefulSet")
        if (found := POOL.fullmatch(o["metadata"]["name"]))
    ]
    problems = []
    for (namespace, store), group in groupby(sorted(pools, key=lambda pool: pool[:3]), key=lambda pool: pool[:2]):
        own = list(group)
        if [number for _, _, number, _ in own] != list(range(len(own))):
            problems.append(f"{namespace}/{store} has no pool between two: MinIO finds drives by their order")
        wanted = " ".join(_drives(namespace, store, number, o["spec"]) for _, _, number, o in own)
        for _, _, _, o in own:
            (container,) = o["spec"]["template"]["spec"]["containers"]
            settings = {variable["name"]: variable["value"] for variable in container["env"]}
            if settings["MINIO_VOLUMES"] != wanted:
                problems.append(f"{title(o)} is told of {settings['MINIO_VOLUMES']}, and there is {wanted}")
            if _SETTINGS.items() - settings.items():
                problems.append(f"{title(o)} is set up with {settings}")
            paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            claims = [claim["metadata"]["name"] for claim in o["spec"]["volumeClaimTemplates"]]
            # As the operator calls them: a site goes from one to the other with the same volumes.
            if claims != [f"data{number}" for number in range(len(claims))] or [paths.get(claim) for claim in claims] != _paths(
                len(claims)
            ):
                problems.append(f"{title(o)} has its drives at {paths}, from {claims}")
            # A server that has just started answers "not found" for what the others have.
            if o["spec"]["podManagementPolicy"] != "Parallel" or not container["readinessProbe"].get("initialDelaySeconds", 0) > 15:
                problems.append(f"{title(o)} starts one server after the other, or is asked before it has joined")
    return problems


def _drives(namespace: str, store: str, number: int, spec: dict) -> str:  # type: ignore[type-arg]
    count = len(spec["volumeClaimTemplates"])
    host = f"http://{store}-pool-{number}-{{0...{spec['replicas'] - 1}}}.{spec['serviceName']}.{namespace}.svc.cluster.local:9000"
    return f"{host}/export{{0...{count - 1}}}" if count > 1 else f"{host}/export"


def _paths(count: int) -> list[str]:
    return [f"/export{number}" for number in range(count)] if count > 1 else ["/export"]
