"""PostgreSQL by CloudNativePG: a primary and its standbys, no acknowledged commit lost, archived for recovery to any point in time."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen
from cdk8s_plus_34 import k8s

from imports import cnpg
from infrastructure.object_storage.s3 import Bucket
from infrastructure.operators import CLOUDNATIVE_PG, INSTANCE_STATUS
from infrastructure.postgresql.alerts import alerts
from infrastructure.postgresql.options import BackupOptions, RestoreOptions
from infrastructure.postgresql.size import PostgresSize
from infrastructure.postgresql.tuning import parameters
from infrastructure.programs import program
from kit.component import Component, NewRelease, Priority
from kit.footprint import OPERATORS
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Pods, Port
from kit.objects import CustomResource, data
from kit.options import OptionError
from kit.place import Place
from kit.placement import Placement, PodResources
from kit.pods import PodSpec
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Composed, Fixed, RandomText, Recipe, SecretSpec

SQL = Port("postgresql", 5432)
DATABASE = "synapse"
"""The database that a cluster is made with, and its owner."""
METRICS = Port("metrics", 9187)
"""Served by every instance (cloudnative-pg, pkg/management/url/url.go)."""
_ARCHIVE = "archive"
"""What a restored cluster calls the archive that it is made from."""
BACKUP_PLUGIN = "barman-cloud.cloudnative-pg.io"
SIDECAR = Resources(millicores(20), mib(64), mib(512))
"""The plugin's sidecar in each instance: it archives WAL and takes base backups."""


class ObjectStore(CustomResource):
    """Where the barman-cloud plugin keeps backups and the write-ahead log: small enough to be data, which rules hold field by field."""

    resource_version = "barmancloud.cnpg.io/v1"
    resource_kind = "ObjectStore"


@frozen
class PostgresSpec:
    """One cluster, with a database for Synapse. `bucket`: where it is backed up.

    `further_connections`: of other clients than Synapse, beside those of the size.
    """

    size: PostgresSize
    backups: BackupOptions
    bucket: Bucket
    further_connections: int = 0
    owner: str = DATABASE
    """Who owns the first database."""
    owner_rights: tuple[str, ...] = ()
    """What a superuser does for the owner when the cluster is made: SQL."""
    further_parameters: Mapping[str, str] = field(factory=dict, hash=False)
    """Of `postgresql.conf`, beside those that follow from the size."""


@frozen
class Database:
    """How a client in the cluster's namespace reaches a database. `host` is the name that stands in the password file.

    `password_secret` holds the `password` and the password file `pgpass`; `authority_secret` has the CA, as `ca.crt`; both are in
    `namespace`.
    """

    endpoint: Endpoint | External
    host: str
    name: str
    user: str
    password_secret: str
    authority_secret: str
    namespace: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.endpoint.port if isinstance(self.endpoint, Endpoint) else self.endpoint.ports[0]


SIZED_BY_MEMORY = "its settings follow from its memory; write a profile of your own, one more file in overlays/, and remove this"


class PostgresCluster(Component):
    """A cluster with synchronous replication by quorum.

    A commit is acknowledged when a standby has it, and only a standby that has every acknowledged commit is promoted.
    """

    directory = "01-postgresql"
    noticed = "sending waits for seconds, once, when the primary hands over to a standby, last of all"
    new_release = NewRelease("nothing can be sent or read while pg_upgrade runs: the database is away", major=True)
    config_directory = "postgresql"
    together = True
    priority = Priority.DATA

    def __init__(self, installation: Installation, place: Place, spec: PostgresSpec) -> None:
        super().__init__(installation, f"postgresql-{place.instance}", place)
        if place.suffix:
            self.noticed = "users nothing; officers wait for seconds, once, when the primary hands over to a standby"
            self.new_release = NewRelease("users nothing; officers wait until the database has been made again", major=True)
        name, file = self.name, f"{place.instance}-cluster.yaml"
        # Instances and the Jobs that create or join them carry this label (cloudnative-pg, pkg/utils/labels_annotations.go).
        self.pods = Pods(name, self.namespace, ((OPERATORS["Cluster"], name),))
        host = installation.facts.service_host(f"{name}-rw", self.namespace)
        self.sql = Endpoint(self.pods, host, SQL.number, SQL)
        # The operator's password file names the host so, and libpq takes a password only for the host as it is named
        # (cloudnative-pg, pkg/specs/secrets.go and internal/controller/cluster_create.go).
        named = f"{name}-rw"
        self._named = named
        self.database = Database(self.sql, named, DATABASE, spec.owner, f"{name}-app", f"{name}-ca", self.namespace)
        tuning = self.tuned(file, "instances", "postgresql", "resources", "storage", "walStorage")
        self.add(file, cnpg.Cluster, name, tuning=tuning, spec=self._cluster(spec))
        self.add("backup-config.yaml", ObjectStore, name, spec=_object_store(name, spec))
        self.add("backup-config.yaml", cnpg.ScheduledBackup, name, spec=_scheduled_backup(name, spec.backups))
        self._first_backup(spec.backups.generation)

        status = Endpoint(self.pods, "", INSTANCE_STATUS.number, INSTANCE_STATUS)
        self.connect(self.pods, self.sql, status, spec.bucket.peer)
        self.connect(CLOUDNATIVE_PG.pods, self.sql, status)
        self.calls_api_server(self.pods)
        self.offers_metrics(self.pods, METRICS, series=800)
        self.alerts(*alerts(spec.size.instances, spec.backups.schedule))
        self.keeps(
            "accounts, rooms, messages, keys: everything but media",
            f"Cluster {name}",
            f"Base backups and the archived write-ahead log, in the bucket {spec.bucket.name}: docs/05-BACKUP-RESTORE.md.",
        )

    def add_database(self, name: str, file: str, owner: str | None = None) -> Database:
        """Another database in the same cluster, with an owner, who is called like it unless another name is given.

        It is backed up and restored with the first. Taken away again, both stay in the cluster with all they hold. The owner may not create
        anything in other databases.
        """
        database = self.add_role(owner or name, file, name)
        spec = cnpg.DatabaseSpec(
            cluster=cnpg.DatabaseSpecCluster(name=self.name),
            name=name,
            owner=database.user,
            database_reclaim_policy=cnpg.DatabaseSpecDatabaseReclaimPolicy.RETAIN,
        )
        self.add(file, cnpg.Database, self._resource(name), spec=spec)
        return database

    def add_role(
        self, name: str, file: str, database: str = DATABASE, *, member_of: tuple[str, ...] = (), replication: bool = False
    ) -> Database:
        """Somebody who logs in, and a database as they see it. Their Secret holds a password file, too."""
        resource = self._resource(name)
        keys: dict[str, Recipe] = {
            "username": Fixed(name),
            "password": RandomText(48),
            "pgpass": Composed(f"{self._named}:{SQL.number}:{database}:{name}:{{password}}\n"),
        }
        change = Change(
            "The operator gives the role the new password; open connections stay, new ones with the old password are refused.",
            f"Restart what logs in as `{name}`.",
        )
        self.secret(SecretSpec(resource, self.namespace, keys, type="kubernetes.io/basic-auth"), {"password": change})
        role = cnpg.DatabaseRoleSpec(
            cluster=cnpg.DatabaseRoleSpecCluster(name=self.name),
            name=name,
            login=True,
            replication=True if replication else None,
            in_roles=list(member_of) or None,
            password_secret=cnpg.DatabaseRoleSpecPasswordSecret(name=resource),
            database_role_reclaim_policy=cnpg.DatabaseRoleSpecDatabaseRoleReclaimPolicy.RETAIN,
        )
        self.add(file, cnpg.DatabaseRole, resource, spec=role)
        return Database(self.sql, self._named, database, name, resource, f"{self.name}-ca", self.namespace)

    def seen_from_elsewhere(self, database: Database) -> Database:
        """The same for a client in another namespace, whose certificate authority is not there: it binds the channel to the password.

        SCRAM with channel binding proves that the server at the other end knows the password and that nobody is between; a copy of the
        authority would be out of date when the operator renews it.
        """
        return evolve(database, host=f"{database.host}.{self.namespace}.svc")

    def _resource(self, name: str) -> str:
        return f"{self.name}-{name.replace('_', '-')}"

    def _first_backup(self, generation: int) -> None:
        """A Job that takes the first base backup as soon as the archive works, and may do nothing else."""
        name, file = f"{self.name}-first-backup", f"{self.place.instance}-first-backup.yaml"
        asked = {"namespace": self.namespace, "cluster": self.name, "generation": generation, "plugin": BACKUP_PLUGIN}
        self.add(file, k8s.KubeServiceAccount, name, automount_service_account_token=False)
        rules = [
            k8s.PolicyRule(api_groups=["postgresql.cnpg.io"], resources=["clusters"], resource_names=[self.name], verbs=["get"]),
            k8s.PolicyRule(api_groups=["postgresql.cnpg.io"], resources=["backups"], verbs=["create", "get"]),
        ]
        self.add(file, k8s.KubeRole, name, rules=rules)
        role = k8s.RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name=name)
        account = k8s.Subject(kind="ServiceAccount", name=name, namespace=self.namespace)
        self.add(file, k8s.KubeRoleBinding, name, role_ref=role, subjects=[account])
        resources = Resources(millicores(10), mib(48), mib(128))
        container = program(self, "first_backup", "take", json.dumps(asked), resources, name=name, asks_api=True)
        pod = PodSpec(containers=(container,), service_account=name, mounts_token=True, restart_policy="OnFailure")
        self.calls_api_server(self.job(file, name, pod, part="first-backup", backoff_limit=20).pods)

    def _cluster(self, spec: PostgresSpec) -> cnpg.ClusterSpec:
        facts, size, placement = self.installation.facts, spec.size, self.placement(self.name)
        if placement.resources != PodResources():
            raise OptionError(f'placement["{self.name}"].resources', SIZED_BY_MEMORY)
        volume_class = facts.storage_classes.database
        return cnpg.ClusterSpec(
            instances=size.instances,
            image_name=facts.pulls(image("postgresql")),
            image_pull_secrets=[cnpg.ClusterSpecImagePullSecrets(name=name) for name in facts.images.pull_secrets] or None,
            postgresql=cnpg.ClusterSpecPostgresql(
                parameters=parameters(size.memory, size.cpu, size.wal, size.max_connections + spec.further_connections)
                | dict(spec.further_parameters),
                # TLS only: CloudNativePG's own last rule would also take a connection in the clear.
                pg_hba=["hostssl all all all scram-sha-256", "host all all all reject"],
                synchronous=cnpg.ClusterSpecPostgresqlSynchronous(
                    method=cnpg.ClusterSpecPostgresqlSynchronousMethod.ANY,
                    number=size.acknowledging,
                    # With one standby, insisting on it would stop every write while it is away.
                    data_durability=cnpg.ClusterSpecPostgresqlSynchronousDataDurability.REQUIRED
                    if size.instances > 2
                    else cnpg.ClusterSpecPostgresqlSynchronousDataDurability.PREFERRED,
                    failover_quorum=True,
                ),
            ),
            bootstrap=_restored(spec.backups.restore) if spec.backups.restore else _new(spec),
            external_clusters=[self._archived(spec.backups.restore)] if spec.backups.restore else None,
            storage=cnpg.ClusterSpecStorage(size=str(size.storage), storage_class=volume_class, resize_in_use_volumes=True),
            wal_storage=cnpg.ClusterSpecWalStorage(size=str(size.wal), storage_class=volume_class, resize_in_use_volumes=True),
            resources=cnpg.ClusterSpecResources(
                requests={
                    "cpu": cnpg.ClusterSpecResourcesRequests.from_string(str(size.cpu)),
                    "memory": cnpg.ClusterSpecResourcesRequests.from_string(str(size.memory)),
                },
                limits={"memory": cnpg.ClusterSpecResourcesLimits.from_string(str(size.memory))},
            ),
            affinity=self._affinity(placement),
            topology_spread_constraints=[
                cnpg.ClusterSpecTopologySpreadConstraints(
                    max_skew=1,
                    topology_key="topology.kubernetes.io/zone",
                    when_unsatisfiable="ScheduleAnyway",
                    label_selector=cnpg.ClusterSpecTopologySpreadConstraintsLabelSelector(match_labels=dict(self.pods.labels)),
                )
            ]
            if facts.cluster.multi_zone
            else None,
            priority_class_name=placement.priority_class or facts.cluster_wide(Priority.DATA.value),
            inherited_metadata=cnpg.ClusterSpecInheritedMetadata(annotations=dict(placement.annotations))
            if placement.annotations
            else None,
            env=[cnpg.ClusterSpecEnv(name=name, value=value) for name, value in placement.env] or None,
            enable_superuser_access=False,
            enable_pdb=True,
            primary_update_strategy=cnpg.ClusterSpecPrimaryUpdateStrategy.UNSUPERVISED,
            primary_update_method=cnpg.ClusterSpecPrimaryUpdateMethod.SWITCHOVER,
            # How long an old primary may take to shut down before it is stopped at once: an hour by default, all of it an outage.
            switchover_delay=60,
            smart_shutdown_timeout=15,
            stop_delay=120,
            replication_slots=cnpg.ClusterSpecReplicationSlots(
                high_availability=cnpg.ClusterSpecReplicationSlotsHighAvailability(enabled=True, synchronize_logical_decoding=True)
            ),
            managed=cnpg.ClusterSpecManaged(
                services=cnpg.ClusterSpecManagedServices(
                    disabled_default_services=[
                        cnpg.ClusterSpecManagedServicesDisabledDefaultServices.RO,
                        cnpg.ClusterSpecManagedServicesDisabledDefaultServices.R,
                    ]
                )
            ),
            plugins=[
                cnpg.ClusterSpecPlugins(
                    name=BACKUP_PLUGIN, enabled=True, is_wal_archiver=True, parameters=self._archive(spec.backups.generation)
                )
            ],
        )

    def _affinity(self, placement: Placement) -> cnpg.ClusterSpecAffinity:
        wanted = [
            cnpg.ClusterSpecAffinityNodeAffinityRequiredDuringSchedulingIgnoredDuringExecutionNodeSelectorTermsMatchExpressions(
                key=label, operator="In", values=list(values)
            )
            for label, values in placement.affinity
        ]
        term = cnpg.ClusterSpecAffinityNodeAffinityRequiredDuringSchedulingIgnoredDuringExecutionNodeSelectorTerms(match_expressions=wanted)
        required = cnpg.ClusterSpecAffinityNodeAffinityRequiredDuringSchedulingIgnoredDuringExecution(node_selector_terms=[term])
        return cnpg.ClusterSpecAffinity(
            enable_pod_anti_affinity=True,
            pod_anti_affinity_type="required",
            topology_key="kubernetes.io/hostname",
            node_selector=dict(placement.node_selector) or None,
            node_affinity=cnpg.ClusterSpecAffinityNodeAffinity(required_during_scheduling_ignored_during_execution=required)
            if wanted
            else None,
            tolerations=[
                cnpg.ClusterSpecAffinityTolerations(
                    key=t.key, operator="Equal" if t.value else "Exists", value=t.value, effect=t.effect.value if t.effect else None
                )
                for t in placement.tolerations
            ]
            or None,
        )

    def _archive(self, generation: int) -> dict[str, str]:
        """Where a generation archives. The plugin refuses to archive where another database has: restored, it is another one."""
        return {"barmanObjectName": self.name, "serverName": f"{self.name}-{generation}"}

    def _archived(self, restore: RestoreOptions) -> cnpg.ClusterSpecExternalClusters:
        # The defaults are said: items of a custom resource's list are compared whole.
        plugin = cnpg.ClusterSpecExternalClustersPlugin(
            name=BACKUP_PLUGIN, enabled=True, is_wal_archiver=False, parameters=self._archive(restore.generation)
        )
        return cnpg.ClusterSpecExternalClusters(name=_ARCHIVE, plugin=plugin)


def _new(spec: PostgresSpec) -> cnpg.ClusterSpecBootstrap:
    return cnpg.ClusterSpecBootstrap(
        initdb=cnpg.ClusterSpecBootstrapInitdb(
            database=DATABASE,
            owner=spec.owner,
            post_init_sql=list(spec.owner_rights) or None,
            # Synapse refuses any other collation (synapse/storage/engines/postgres.py).
            encoding="UTF8",
            locale_collate="C",
            locale_c_type="C",
            data_checksums=True,
        )
    )


def _restored(restore: RestoreOptions) -> cnpg.ClusterSpecBootstrap:
    # PostgreSQL does not know Z in recovery_target_time, and not every version of the operator turns it into an offset.
    time = restore.time.replace("Z", "+00:00") if restore.time else None
    target = cnpg.ClusterSpecBootstrapRecoveryRecoveryTarget(target_time=time) if time else None
    # The owner gets the password of the operator's Secret, which is new if that was lost too.
    recovery = cnpg.ClusterSpecBootstrapRecovery(source=_ARCHIVE, database=DATABASE, owner=DATABASE, recovery_target=target)
    return cnpg.ClusterSpecBootstrap(recovery=recovery)


def _object_store(name: str, spec: PostgresSpec) -> dict[str, Any]:
    bucket, keys = spec.bucket, spec.bucket.credentials

    def key(of: str) -> dict[str, str]:
        return {"name": keys.secret, "key": of}

    configuration: dict[str, Any] = {
        "destinationPath": f"s3://{bucket.name}/{name}",
        "endpointURL": bucket.endpoint,
        "s3Credentials": {"accessKeyId": key(keys.access_key), "region": key(keys.region), "secretAccessKey": key(keys.secret_key)},
        "data": {"compression": "gzip", "jobs": 2},
        "wal": {"compression": "gzip", "maxParallel": 4},
    }
    if bucket.authority:
        configuration["endpointCA"] = {"name": bucket.authority.secret, "key": bucket.authority.key}
    sidecar = {
        # Stores other than AWS refuse the checksums that newer boto3 adds by default.
        "env": [
            {"name": variable, "value": "when_required"}
            for variable in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
        ],
        "resources": {
            "requests": {"cpu": str(SIDECAR.cpu), "memory": str(SIDECAR.memory)},
            "limits": {"memory": str(SIDECAR.memory_limit)},
        },
    }
    store: dict[str, Any] = data(
        {"configuration": configuration, "instanceSidecarConfiguration": sidecar, "retentionPolicy": spec.backups.retention}
    )
    return store


def _scheduled_backup(name: str, backups: BackupOptions) -> cnpg.ScheduledBackupSpec:
    return cnpg.ScheduledBackupSpec(
        cluster=cnpg.ScheduledBackupSpecCluster(name=name),
        schedule=backups.schedule,
        backup_owner_reference=cnpg.ScheduledBackupSpecBackupOwnerReference.SELF,
        method=cnpg.ScheduledBackupSpecMethod.PLUGIN,
        plugin_configuration=cnpg.ScheduledBackupSpecPluginConfiguration(name=BACKUP_PLUGIN),
    )
