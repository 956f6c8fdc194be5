"""Who may do what with the Kubernetes API: the Job that makes Secrets, and people with Kubernetes' own roles."""

from collections.abc import Mapping

from tests.manifests.rules.objects import Objects, of_kind, title

_READ, _CHANGE = {"get", "list", "watch"}, {"create", "update", "patch", "delete"}

BACKUPS = "-first-backup"
"""How the Role is called by which the Job takes the first base backup of a database."""

_LOOK = {"list", "watch"}
READERS: Mapping[str, tuple[str, dict[str, set[str]], set[str]]] = {
    "alloy-reads-logs": ("alloy", {"": {"pods"}}, _READ),
    "prometheus-finds-pods": ("prometheus", {"": {"pods"}}, _READ),
    "kube-state-metrics-sees": (
        "kube-state-metrics",
        {
            "": {"persistentvolumeclaims", "pods"},
            "apps": {"daemonsets", "deployments", "statefulsets"},
            "autoscaling": {"horizontalpodautoscalers"},
            "batch": {"cronjobs", "jobs"},
        },
        _LOOK,
    ),
}
"""Roles that let a program look at what a namespace has: whose they are, at what by API group, and how. One in each namespace of the platform."""

LOG_READER, LOGS = "alloy-reads-logs", "pods/log"
"""One of them, which may also get what pods say."""
RESTARTERS = {"li-sync-restart"}
"""Roles of those that restart one workload: tests/manifests/test_li_instance.py says which."""

NODE_READERS = {"matrix-monitoring-prometheus": ("prometheus", [("nodes", _READ), ("nodes/metrics", {"get"})])}
"""The same for nodes, of the whole cluster: how full volumes are only kubelets know."""


def reader_right_problems(objects: Objects) -> list[str]:
    """Roles of those that watch the platform that let them do more than look at what they need, or let others do so, or leave out a namespace."""
    found = []
    namespaces = {o["metadata"]["name"] for o in of_kind(objects, "Namespace")}
    for name, (account, resources, verbs) in READERS.items():
        roles = [o for o in of_kind(objects, "Role") if o["metadata"]["name"] == name]
        bindings = [o for o in of_kind(objects, "RoleBinding") if o["roleRef"].get("name") == name]
        if roles and {o["metadata"]["namespace"] for o in roles} & {o["metadata"]["namespace"] for o in bindings} != namespaces:
            found.append(f"{name} is not in every namespace")
        found += [
            f"{title(role)} may {sorted(rule['verbs'])} {rule['resources']} of {rule.get('apiGroups')}"
            for role in roles
            for rule in role["rules"]
            if (set(rule["resources"]), set(rule["verbs"])) != ({LOGS}, {"get"} if name == LOG_READER else set())
            and (set(rule["resources"]), set(rule["verbs"])) != (resources.get("".join(rule["apiGroups"]), set()), verbs)
        ]
        found += _others(bindings, account, "Role")
    for name, (account, wanted) in NODE_READERS.items():
        for role in (o for o in of_kind(objects, "ClusterRole") if o["metadata"]["name"] == name):
            if [("".join(rule["resources"]), set(rule["verbs"])) for rule in role["rules"]] != wanted:
                found.append(f"{title(role)} may {role['rules']}")
        found += _others([o for o in of_kind(objects, "ClusterRoleBinding") if o["roleRef"].get("name") == name], account, "ClusterRole")
    return found


def backup_right_problems(objects: Objects) -> list[str]:
    """Rights of the Job that takes the first backup beyond: look at its Cluster, make Backups and look at them."""
    found = []
    for role in (role for role in of_kind(objects, "Role") if role["metadata"]["name"].endswith(BACKUPS)):
        cluster = role["metadata"]["name"].removesuffix(BACKUPS)
        wanted = [
            {"apiGroups": ["postgresql.cnpg.io"], "resources": ["clusters"], "resourceNames": [cluster], "verbs": ["get"]},
            {"apiGroups": ["postgresql.cnpg.io"], "resources": ["backups"], "verbs": ["create", "get"]},
        ]
        found += [f"{title(role)} lets it {rule}" for rule in role["rules"] if rule not in wanted]
    for binding in (binding for binding in of_kind(objects, "RoleBinding") if binding["metadata"]["name"].endswith(BACKUPS)):
        name, subjects = binding["metadata"]["name"], [(s.get("kind"), s.get("name")) for s in binding["subjects"]]
        if subjects != [("ServiceAccount", name)] or (binding["roleRef"].get("kind"), binding["roleRef"].get("name")) != ("Role", name):
            found.append(f"{title(binding)} gives {binding['roleRef']} to {subjects}")
    return found


def _makers(objects: Objects, kind: str) -> Objects:
    return [
        o
        for o in of_kind(objects, kind)
        if o["metadata"]["name"] not in {*READERS, *RESTARTERS} and not o["metadata"]["name"].endswith(BACKUPS)
    ]


def _others(bindings: Objects, account: str, kind: str) -> list[str]:
    """Bindings that give a role to others than its program."""
    return [
        f"{title(binding)} gives {binding['roleRef']} to {binding['subjects']}"
        for binding in bindings
        if [(s.get("kind"), s.get("name")) for s in binding["subjects"]] != [("ServiceAccount", account)]
        or binding["roleRef"].get("kind") != kind
    ]


def generator_right_problems(objects: Objects) -> list[str]:
    """Rights of the secret generator beyond: create a Secret, get and patch those that it makes, by name."""
    found = []
    for role in _makers(objects, "Role"):
        for rule in role.get("rules", []):
            named, verbs = bool(rule.get("resourceNames")), set(rule.get("verbs", []))
            if (rule.get("apiGroups"), rule.get("resources")) != ([""], ["secrets"]):
                found.append(f"{title(role)} has rights to {rule.get('apiGroups')} {rule.get('resources')}")
            if not (verbs == {"create"} if not named else verbs in ({"get"}, {"get", "patch"})):
                found.append(f"{title(role)} may {sorted(verbs)} {'Secrets by name' if named else 'every Secret'}")
    for binding in _makers(objects, "RoleBinding"):
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
    for role in (o for o in of_kind(objects, "ClusterRole") if o["metadata"]["name"] not in NODE_READERS):
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
