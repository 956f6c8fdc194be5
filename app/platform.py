"""The whole system in one file: which components exist, and what each is given."""

from cdk8s import App

from app.site import Site
from infrastructure.access import OperatorAccess
from infrastructure.foundation import Foundation, Namespace
from infrastructure.network_policies import NetworkPolicies, NetworkPoliciesSpec
from infrastructure.object_storage.minio import MinioSpec, MinioTenant, user_secret
from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql import Backups, Database, PostgresCluster, PostgresSpec
from infrastructure.redis.component import RedisSentinel, SentinelSpec
from kit.installation import Facts, Installation, ObjectCache
from kit.quantities import Resources
from main_instance.haproxy.component import HAProxy, ProxySpec
from main_instance.haproxy.configuration import HAProxySpec, Pool
from main_instance.synapse import configuration as synapse
from main_instance.synapse import process
from main_instance.synapse.component import SERVICE, Synapse, SynapseSpec
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import Load, Scaling
from main_instance.synapse.workers import MAIN, WORKER_TYPES
from overlays.profile import ErasureSize, Profile


def assemble(app: App, site: Site, profile: Profile, cache: ObjectCache | None = None) -> Installation:
    """Create every component of one installation and wire it: each is given the endpoints that it may call, and no more."""
    installation = Installation(app, profile.name, _facts(site), cache)
    main, li = site.namespaces.main, site.namespaces.li
    Foundation(installation, (Namespace(main), Namespace(li)))
    OperatorAccess(installation, main)

    storage = MinioTenant(installation, _tenant(site, profile.minio, "minio-main", main, "main-tenant.yaml"))
    MinioTenant(installation, _tenant(site, profile.minio_li, "minio-li", li, "li-tenant.yaml"))
    media = storage.bucket("media", storage.secret(user_secret("media", main)))
    backups = storage.bucket("backups", storage.secret(user_secret("backups", main)))

    postgresql = PostgresCluster(installation, _postgresql(site, profile, backups))
    redis = RedisSentinel(installation, main, SentinelSpec(profile.redis, profile.redis_memory, storage_class=site.storage_classes.default))
    workers = topology({kind.name: profile.workers.count(kind.name, kind.scaling.value) for kind in WORKER_TYPES} | profile.workers.named)
    counts = {name: len(instances) for name, instances in workers.instances.items()}
    ceilings = {kind.name: profile.workers.ceiling(counts[kind.name]) for kind in WORKER_TYPES if kind.scaling is Scaling.ELASTIC}
    profile.check_connections(1 + sum((counts | ceilings).values()))
    homeserver = _homeserver(site, profile, postgresql.database, redis, media)
    messaging = Synapse(
        installation,
        main,
        SynapseSpec(
            homeserver=homeserver,
            counts=counts,
            ceilings=ceilings,
            sizes={Load.LIGHT: profile.synapse.light, Load.MEDIUM: profile.synapse.medium, Load.HEAVY: profile.synapse.heavy},
            main_size=profile.synapse.main,
            database=postgresql.database,
            redis_endpoint=redis.primary,
            redis_secret=redis.password.name,
            media=media,
        ),
    )
    domain = installation.facts.service_host(SERVICE, main) + "."
    HAProxy(
        installation,
        main,
        ProxySpec(
            routing=HAProxySpec(
                pools=tuple(Pool(kind, (counts | ceilings)[kind.name], domain) for kind in WORKER_TYPES),
                main=messaging.address(MAIN) + ".",
                max_upload=site.media.max_upload_size,
                trusted_proxies=site.cluster.pod_cidrs,
                federation=site.features.federation,
            ),
            replicas=profile.haproxy.replicas,
            resources=profile.haproxy.resources,
            host=site.hosts.matrix,
            backends=(messaging.http, messaging.health),
        ),
    )
    NetworkPolicies(
        installation,
        NetworkPoliciesSpec(
            namespaces=(main, li),
            ingress_namespace="traefik",
            api_server_cidrs=site.cluster.api_server_cidrs,
            names={"postgresql-main": "postgresql-access"},
        ),
    )
    return installation


def _facts(site: Site) -> Facts:
    return Facts(
        registry=site.images.registry,
        mirror=site.images.mirror,
        pull_secrets=site.images.pull_secrets,
        cluster_domain=site.cluster.domain,
        zones=site.cluster.multi_zone,
    )


def _tenant(site: Site, size: ErasureSize, name: str, namespace: str, file: str) -> MinioSpec:
    return MinioSpec(
        name=name,
        namespace=namespace,
        file=file,
        nodes=size.nodes,
        drives=size.drives,
        drive=site.storage_sizes.object_storage_drive or size.drive,
        parity=size.parity,
        resources=Resources(size.cpu, size.memory, size.memory * 2),
        storage_class=site.storage_classes.object_storage,
        image=site.object_storage.minio.image,
    )


def _postgresql(site: Site, profile: Profile, backups: Bucket) -> PostgresSpec:
    size = profile.postgresql
    return PostgresSpec(
        name="postgresql-main",
        namespace=site.namespaces.main,
        file="main-cluster.yaml",
        database="synapse",
        instances=size.instances,
        cpu=size.cpu,
        memory=size.memory,
        storage=site.storage_sizes.database or size.storage,
        wal=site.storage_sizes.write_ahead_log or size.wal,
        max_connections=size.max_connections,
        storage_class=site.storage_classes.database,
        backups=Backups(backups, site.backups.schedule, site.backups.retention),
    )


def _homeserver(site: Site, profile: Profile, database: Database, redis: RedisSentinel, media: Bucket) -> synapse.HomeserverSpec:
    return synapse.HomeserverSpec(
        server_name=site.server_name,
        public_baseurl=f"https://{site.hosts.matrix}/",
        secrets=process.SECRETS_FOLDER,
        log_config=f"{process.HOMESERVER_FOLDER}/log.yaml",
        database=synapse.Database(
            host=database.host,
            name=database.name,
            user=database.user,
            passfile=process.PASSWORD_FILE,
            root_certificate="/secrets/database-ca/ca.crt",
            pool_maximum=profile.synapse.database_connections,
        ),
        redis=synapse.Redis(host=redis.primary.host, password_path=process.REDIS_PASSWORD, port=redis.primary.port),
        media=synapse.Media(
            storage=synapse.S3Bucket(media.name, media.endpoint, media.region),
            cache=process.MEDIA_CACHE,
            max_upload_size=site.media.max_upload_size,
        ),
        cache_factor=profile.synapse.cache_factor,
        federation=synapse.Federation() if site.features.federation else None,
    )
