"""Who may do what with the Kubernetes API: the Job that makes Secrets, and people with Kubernetes' own roles."""

from tests.manifests.rules.objects import Objects, of_kind, title

_READ, _CHANGE = {"get", "list", "watch"}, {"create", "update", "patch", "delete"}

READERS = {"prometheus-finds-pods": ("prometheus", {"pods"})}
"""Roles that let a program look at what a namespace has: whose they are, and at what. There is one in each namespace of the platform."""


def reader_right_problems(objects: Objects) -> list[str]:
    """Roles of those that watch the platform that let them do more than look at what they need, or let others do so, or leave out a namespace."""
    found = []
    namespaces = {o["metadata"]["name"] for o in of_kind(objects, "Namespace")}
    for name, (account, resources) in READERS.items():
        roles = [o for o in of_kind(objects, "Role") if o["metadata"]["name"] == name]
        bindings = [o for o in of_kind(objects, "RoleBinding") if o["roleRef"].get("name") == name]
        if roles and {o["metadata"]["namespace"] for o in roles} & {o["metadata"]["namespace"] for o in bindings} != namespaces:
            found.append(f"{name} is not in every namespace")
        found += [
            f"{title(role)} may {sorted(rule['verbs'])} {rule['resources']} of {rule.get('apiGroups')}"
            for role in roles
            for rule in role["rules"]
            if rule.get("apiGroups") != [""] or set(rule["resources"]) != resources or set(rule["verbs"]) != _READ
        ]
        for binding in bindings:
            subjects = [(s.get("kind"), s.get("name")) for s in binding["subjects"]]
            if subjects != [("ServiceAccount", account)] or binding["roleRef"].get("kind") != "Role":
                found.append(f"{title(binding)} gives {binding['roleRef']} to {subjects}")
    return found


def generator_right_problems(objects: Objects) -> list[str]:
    """Rights of the secret generator beyond: create a Secret, get and patch those that it makes, by name."""
    found = []
    for role in (role for role in of_kind(objects, "Role") if role["metadata"]["name"] not in READERS):
        for rule in role.get("rules", []):
            named, verbs = bool(rule.get("resourceNames")), set(rule.get("verbs", []))
            if (rule.get("apiGroups"), rule.get("resources")) != ([""], ["secrets"]):
                found.append(f"{title(role)} has rights to {rule.get('apiGroups')} {rule.get('resources')}")
            if not (verbs == {"create"} if not named else verbs in ({"get"}, {"get", "patch"})):
                found.append(f"{title(role)} may {sorted(verbs)} {'Secrets by name' if named else 'every Secret'}")
    for binding in (binding for binding in of_kind(objects, "RoleBinding") if binding["metadata"]["name"] not in READERS):
        subjects = [(s.get("kind"), s.get("name")) for s in binding["subjects"]]
        reference = (binding["roleRef"].get("kind"), binding["roleRef"].get("apiGroup"))
        if subjects != [("ServiceAccount", "secret-generator")] or reference != ("Role", "rbac.authorization.k8s.io"):
            found.append(f"{title(binding)} gives {binding['roleRef']} to {subjects}")
    return found


_LEVEL = "rbac.authorization.k8s.io/aggregate-to-"
_RESOURCES = {
    "postgresql.cnpg.io": {
        "backups",
        "clusters",
        "databases",
        "databaseroles",
        "poolers",
        "publications",
        "scheduledbackups",
        "subscriptions",
    },
    "minio.min.io": {"tenants"},
    # The rest is in cert-manager's own roles; by the status `cmctl renew` asks for a renewal (docs/03-OPERATIONS-GUIDE.md).
    "cert-manager.io": {"certificates/status"},
}
_OPERATORS_ALONE = "failoverquorums"
"""What decides who may become primary: the operator's own account."""


def access_problems(objects: Objects) -> list[str]:
    """Cluster roles that give people with `view` or `edit` more of the operators' resources than to read or to change them, or less."""
    found = []
    for role in of_kind(objects, "ClusterRole"):
        labels = role["metadata"].get("labels", {})
        levels = [level for level in ("view", "edit") if labels.get(f"{_LEVEL}{level}") == "true"]
        verbs = {verb for rule in role["rules"] for verb in rule.get("verbs", [])}
        if (levels, verbs) not in ((["view"], _READ), (["edit"], _CHANGE)):
            found.append(f"{title(role)} lets people with {levels} {sorted(verbs)}")
        wanted = _RESOURCES.get({group for rule in role["rules"] for group in rule.get("apiGroups", [])}.pop(), set())
        given = {resource for rule in role["rules"] for resource in rule.get("resources", [])}
        if given - {_OPERATORS_ALONE} != wanted or len(role["rules"]) != 1:
            found.append(f"{title(role)} lets people see {sorted(given)}, and the operator has {sorted(wanted)}")
        if levels == ["edit"] and any(_OPERATORS_ALONE in rule.get("resources", []) for rule in role["rules"]):
            found.append(f"{title(role)} lets people change {_OPERATORS_ALONE}")
    return found
