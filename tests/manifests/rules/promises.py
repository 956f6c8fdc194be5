"""Fields of custom resources that must have one value whatever site and size: each with what is lost without it."""

from collections.abc import Mapping
from typing import Any

from tests.manifests.rules.objects import Objects, of_kind, title
from tests.manifests.rules.paths import find

Promises = Mapping[str, tuple[Any, str]]
"""Dotted path to the value that must stand there, and why."""

NEW_CLUSTER: Promises = {
    "spec.bootstrap.initdb.encoding": ("UTF8", "Synapse refuses another encoding (synapse/storage/engines/postgres.py)"),
    "spec.bootstrap.initdb.localeCollate": ("C", "Synapse refuses another collation"),
    "spec.bootstrap.initdb.localeCType": ("C", "Synapse refuses another character type"),
    "spec.bootstrap.initdb.dataChecksums": (True, "a damaged page would be served and backed up unnoticed"),
}
RESTORED_CLUSTER: Promises = {
    "spec.bootstrap.recovery.database": ("synapse", "the operator would write a password file for a database that is not there"),
    "spec.bootstrap.recovery.owner": ("synapse", "Synapse's password would be of another role"),
}
CLUSTER: Promises = {
    "spec.enableSuperuserAccess": (False, "a password of the superuser would exist and could be used over the network"),
    "spec.enablePDB": (True, "a drain could take the primary before a standby has its place"),
    "spec.primaryUpdateStrategy": ("unsupervised", "an update would wait for a person before it reaches the primary"),
    "spec.primaryUpdateMethod": ("switchover", "the primary would be restarted in place, an outage for as long as it takes"),
    "spec.switchoverDelay": (60, "an old primary may take an hour to shut down by default, all of it an outage"),
    "spec.smartShutdownTimeout": (15, "Synapse keeps its connections open, so waiting for them longer is an outage"),
    "spec.stopDelay": (120, "it must leave time for a fast shutdown after the smart one, and bound how long a node's drain takes"),
    "spec.replicationSlots.highAvailability.enabled": (True, "a standby that lags could find its write-ahead log recycled"),
    "spec.replicationSlots.highAvailability.synchronizeLogicalDecoding": (True, "a logical subscriber would lose its slot in a failover"),
    "spec.postgresql.synchronous.method": ("any", "one named standby that is slow would hold up every commit"),
    "spec.postgresql.synchronous.failoverQuorum": (True, "a standby without an acknowledged commit could be promoted"),
    "spec.postgresql.parameters.hot_standby_feedback": ("on", "CloudNativePG refuses synchronizeLogicalDecoding without"),
    "spec.postgresql.parameters.sync_replication_slots": ("on", "CloudNativePG refuses synchronizeLogicalDecoding without"),
    "spec.postgresql.parameters.tcp_keepalives_idle": ("30", "the locks of a client whose machine vanished would stay for two hours"),
    "spec.postgresql.parameters.tcp_keepalives_interval": ("10", "the locks of a client whose machine vanished would stay for minutes"),
    "spec.postgresql.parameters.tcp_keepalives_count": ("3", "the locks of a client whose machine vanished would stay for minutes"),
    "spec.postgresql.parameters.tcp_user_timeout": (
        "60s",
        "the locks of a client whose machine vanished would stay for a quarter of an hour",
    ),
    "spec.postgresql.parameters.jit": ("off", "Synapse's queries are many and short: compiling them costs more than it gains"),
    "spec.storage.resizeInUseVolumes": (True, "volumes could not grow"),
    "spec.walStorage.resizeInUseVolumes": (True, "volumes could not grow"),
    "spec.plugins[].enabled": (True, "nothing would be archived"),
    "spec.topologySpreadConstraints[].maxSkew": (1, "a zone could hold two instances while another has none"),
    "spec.topologySpreadConstraints[].whenUnsatisfiable": ("ScheduleAnyway", "a cluster that has lost a zone would run fewer instances"),
}
OBJECT_STORE: Promises = {
    "spec.configuration.wal.compression": ("gzip", "the archive would take several times the room"),
    "spec.configuration.data.compression": ("gzip", "a base backup would take several times the room"),
    "spec.instanceSidecarConfiguration.env": (
        [
            {"name": "AWS_REQUEST_CHECKSUM_CALCULATION", "value": "when_required"},
            {"name": "AWS_RESPONSE_CHECKSUM_VALIDATION", "value": "when_required"},
        ],
        "stores other than AWS refuse the checksums that newer boto3 adds by default",
    ),
}
SCHEDULED_BACKUP: Promises = {
    "spec.backupOwnerReference": ("self", "Backup objects would stay when their schedule is taken away"),
    "spec.method": ("plugin", "CloudNativePG itself has no way to the bucket"),
}
DATABASE: Promises = {"spec.databaseReclaimPolicy": ("retain", "a database would be dropped with its object")}
DATABASE_ROLE: Promises = {
    "spec.databaseRoleReclaimPolicy": ("retain", "the owner of a database would be dropped with its object"),
    "spec.login": (True, "the program could not log in"),
}
TENANT: Promises = {
    "spec.requestAutoCert": (False, "its clients speak HTTP within the network policies"),
    "spec.podManagementPolicy": ("Parallel", "a server waits for the others before it is ready, so they must start together"),
    "spec.mountPath": ("/export", "every server is told its drives by this path, and all must be told the same"),
    "spec.imagePullPolicy": ("IfNotPresent", "a registry that is away would keep servers from starting again"),
    "spec.pools[].volumeClaimTemplate.metadata.name": ("data", "another name is another, empty volume"),
    "spec.pools[].volumeClaimTemplate.spec.accessModes": (["ReadWriteOnce"], "local volumes can be had by one node alone"),
    "spec.pools[].securityContext.fsGroupChangePolicy": ("OnRootMismatch", "each start would go through every file of every drive"),
}
CERTIFICATE: Promises = {
    "spec.privateKey.algorithm": ("ECDSA", "RSA handshakes cost the ingress controller several times as much"),
    "spec.privateKey.size": (256, "what all clients know"),
}
_ADDED = "the API server adds it, and a tool that compares lists as a whole would apply the object for ever"
HTTP_ROUTE: Promises = {
    "spec.parentRefs[].group": ("gateway.networking.k8s.io", _ADDED),
    "spec.parentRefs[].kind": ("Gateway", _ADDED),
    "spec.rules[].matches[].path.type": ("PathPrefix", "what is below the path would not be found"),
}
HTTP_ROUTE_TO_PODS: Promises = {
    "spec.rules[].timeouts.request": ("0s", "HAProxy knows how long each kind of request may take: a sync or an upload would be cut"),
    "spec.rules[].timeouts.backendRequest": (
        "0s",
        "HAProxy knows how long each kind of request may take: a sync or an upload would be cut",
    ),
    "spec.rules[].backendRefs[].group": ("", _ADDED),
    "spec.rules[].backendRefs[].kind": ("Service", _ADDED),
    "spec.rules[].backendRefs[].weight": (1, _ADDED),
}
EXTERNAL_SECRET: Promises = {
    "spec.refreshInterval": ("1h", "a value that is changed in the store would not come, or the store be asked all the time"),
    "spec.target.creationPolicy": ("Owner", "keys that are no longer declared would stay"),
    "spec.target.deletionPolicy": ("Retain", "an entry that is lost in the store would take the Secret from the cluster"),
}
EXTERNAL_SECRET_TEMPLATE: Promises = {
    "spec.target.template.engineVersion": ("v2", "the composed keys are written for it"),
    "spec.target.template.mergePolicy": ("Merge", "the fetched keys would be gone beside the composed ones"),
}

EVERY: Mapping[str, Promises] = {
    "Cluster": CLUSTER,
    "ObjectStore": OBJECT_STORE,
    "ScheduledBackup": SCHEDULED_BACKUP,
    "Database": DATABASE,
    "DatabaseRole": DATABASE_ROLE,
    "Tenant": TENANT,
    "Certificate": CERTIFICATE,
    "HTTPRoute": HTTP_ROUTE,
    "ExternalSecret": EXTERNAL_SECRET,
}


def promise_problems(objects: Objects) -> list[str]:
    """Custom resources with another value, or with none, where the platform promises one."""
    found = []
    for o in of_kind(objects, *EVERY):
        promises = dict(EVERY[o["kind"]])
        if o["kind"] == "Cluster":
            promises |= RESTORED_CLUSTER if "recovery" in o["spec"]["bootstrap"] else NEW_CLUSTER
        if o["kind"] == "HTTPRoute" and any("backendRefs" in rule for rule in o["spec"]["rules"]):
            promises |= HTTP_ROUTE_TO_PODS
        if o["kind"] == "ExternalSecret" and "template" in o["spec"].get("target", {}):
            promises |= EXTERNAL_SECRET_TEMPLATE
        for path, (wanted, why) in promises.items():
            values = find(o, path)
            # A list that is not there has no items of which something is promised; other rules ask whether it must be there.
            if any(value != wanted for value in values) or (not values and "[]" not in path):
                found.append(f"{title(o)}: {path} is {values or 'not there'}, not {wanted}: {why}")
    return found
