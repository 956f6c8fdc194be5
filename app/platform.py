"""The whole system in one file: which components exist, and what each is given."""

from typing import Any

from attrs import fields
from cdk8s import App

from app import site as site_options
from app.budget import quotas
from app.secrets import providers
from app.site import Site, TlsSource
from infrastructure.access import OperatorAccess
from infrastructure.foundation import Foundation, Namespace
from infrastructure.ingress import CertificateSource, Gateway, Ingress, IngressSpec
from infrastructure.network_policies import NetworkPolicies, NetworkPoliciesSpec
from infrastructure.object_storage.buckets import Buckets, BucketsSpec
from infrastructure.object_storage.external import ExternalSpec, ExternalStorage
from infrastructure.object_storage.minio import MinioOperatorRelease, MinioSpec, MinioTenant
from infrastructure.object_storage.policies import BACKUPS, MEDIA, BucketUser, ProvisionedBucket
from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql import Backups, Database, PostgresCluster, PostgresSpec
from infrastructure.quotas import Quotas
from infrastructure.redis.component import RedisSentinel, SentinelSpec
from infrastructure.secret_provider import ExternalSecrets, SecretGenerator
from kit.installation import Facts, Installation
from kit.network import Host
from kit.quantities import Resources, gib, mib, millicores
from main_instance.authentication_service.component import LOGIN_ROUTES, AuthenticationService, AuthenticationSpec
from main_instance.authentication_service.configuration import SHARED_SECRET, ServiceSpec
from main_instance.coturn.component import Coturn, RelaySpec
from main_instance.coturn.configuration import Certificate, CoturnSpec
from main_instance.element_web.component import ElementWeb, ElementWebSpec
from main_instance.element_web.configuration import ClientSpec, Theme
from main_instance.haproxy.component import Administration, HAProxy, ProxySpec, internal_endpoint
from main_instance.haproxy.configuration import HAProxySpec, Pool, Upstream
from main_instance.haproxy.well_known import Contact, WellKnown
from main_instance.livekit.component import LiveKit, MediaServerSpec
from main_instance.livekit.configuration import LiveKitSpec
from main_instance.lk_jwt_service.component import API_KEY, API_SECRET, AuthorisationSpec, LkJwtService
from main_instance.node_addresses import NodeAddresses
from main_instance.sygnal.component import Sygnal, SygnalSpec
from main_instance.sygnal.configuration import Apns, ApnsApp, FcmApp, PushSpec
from main_instance.synapse import configuration as synapse
from main_instance.synapse import process
from main_instance.synapse.component import SERVICE, Authentication, Synapse, SynapseSpec
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import Load
from main_instance.synapse.workers import MAIN, worker_types
from overlays.profile import ErasureSize, Profile


def assemble(app: App, site: Site, profile: Profile) -> Installation:
    """Create every component of one installation and wire it: each is given the endpoints that it may call, and no more."""
    installation = Installation(app, profile.name, _facts(site))
    main = site.namespaces.main
    namespaces = _namespaces(site)
    Foundation(installation, namespaces)
    OperatorAccess(installation, main)

    media, backups = _object_storage(installation, site, profile)

    postgresql = PostgresCluster(installation, _postgresql(site, profile, backups))
    redis = RedisSentinel(installation, main, SentinelSpec(profile.redis, profile.redis_memory, storage_class=site.storage_classes.default))
    authentication = _authentication_service(installation, site, profile, postgresql) if site.features.authentication_service else None
    kinds = worker_types(authentication_service=site.features.authentication_service)
    workers = topology({kind.name: profile.workers.count(kind.name, kind.scaling.value) for kind in kinds} | profile.workers.named, kinds)
    counts = {name: len(instances) for name, instances in workers.instances.items()}
    ceilings = {kind.name: profile.workers.ceiling(counts[kind.name]) for kind in kinds if kind.autoscaled}
    profile.check_connections(1 + sum((counts | ceilings).values()))
    turn = _coturn(installation, site, profile) if site.features.calls else None
    homeserver = _homeserver(site, profile, postgresql.database, redis, media, authentication, turn)
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
            authentication=Authentication(authentication.http, authentication.secret_name, SHARED_SECRET) if authentication else None,
            turn_secret=turn.shared_secret if turn else None,
        ),
    )
    domain = installation.facts.service_host(SERVICE, main) + "."
    proxy = HAProxy(
        installation,
        main,
        ProxySpec(
            routing=HAProxySpec(
                pools=tuple(Pool(kind, (counts | ceilings)[kind.name], domain) for kind in kinds),
                main=messaging.address(MAIN) + ".",
                max_upload=site.media.max_upload_size,
                trusted_proxies=site.ingress.trusted_proxies,
                upstreams=(_login(authentication),) if authentication else (),
                ingress_peers=site.cluster.pod_cidrs or ("0.0.0.0/0", "::/0"),
                federation=site.features.federation,
                well_known=_well_known(site, homeserver),
            ),
            replicas=profile.haproxy.replicas,
            resources=profile.haproxy.resources,
            host=_host(site, "matrix"),
            backends=(messaging.http, messaging.health, *((authentication.http, authentication.health) if authentication else ())),
            server_name=_host(site, "well_known") if site.well_known.publish else None,
            administration=_administration(site),
        ),
    )
    if site.features.calls:
        _group_calls(installation, site, profile, redis, proxy)
    ElementWeb(installation, main, _element_web(site, homeserver))
    if site.features.push:
        Sygnal(installation, main, SygnalSpec(_push(site), pushers=messaging.pods_of("pusher")))
    generator, fetched = providers(installation.declared.secrets, site.secrets.provider, site.secrets.store)
    if generator:
        SecretGenerator(installation, main, generator)
    ExternalSecrets(installation, main, fetched)
    Ingress(installation, main, _ingress(site))
    if site.network_policies:
        NetworkPolicies(installation, _network_policies(site, tuple(namespace.name for namespace in namespaces)))
    Quotas(installation, quotas(installation.rendering().manifests()))
    return installation


def _administration(site: Site) -> Administration | None:
    sources = site.ingress.admin_source_ranges
    return Administration(_host(site, "admin"), sources) if sources else None


def _network_policies(site: Site, namespaces: tuple[str, ...]) -> NetworkPoliciesSpec:
    cluster, main = site.cluster, site.namespaces.main
    return NetworkPoliciesSpec(
        namespaces=namespaces,
        ingress_namespace=site.ingress.controller_namespace,
        api_server_cidrs=cluster.api_server_cidrs,
        node_cidrs=cluster.node_cidrs,
        dns_namespace=cluster.dns.namespace,
        dns_cidrs=cluster.dns.cidrs,
        names={(main, "postgresql-main"): "postgresql-access"} | NetworkPoliciesSpec.isolation(site.namespaces.li, "li-instance-isolation"),
    )


def _facts(site: Site) -> Facts:
    return Facts(
        registry=site.images.registry,
        mirror=site.images.mirror,
        pull_secrets=site.images.pull_secrets,
        cluster_domain=site.cluster.domain,
        zones=site.cluster.multi_zone,
    )


def _namespaces(site: Site) -> tuple[Namespace, ...]:
    names = site.namespaces
    calls = Namespace(
        names.rtc,
        "privileged",
        "LiveKit and coturn are in the network of their nodes, because clients reach thousands of their UDP ports; they have no other rights.",
    )
    return Namespace(names.main), *([Namespace(names.li)] if site.features.li else []), *([calls] if site.features.calls else [])


def _host(site: Site, host: str) -> Host:
    """One of `hosts`, or `well_known`: the server name itself."""
    if host == "well_known":
        # It may be one of the others, and has that one's certificate then.
        host = next((other.name for other in fields(type(site.hosts)) if getattr(site.hosts, other.name) == site.domain), host)
    name = site.domain if host == "well_known" else getattr(site.hosts, host)
    return Host(name, getattr(site.tls.secret_names, host))


def _element_web(site: Site, homeserver: synapse.HomeserverSpec) -> ElementWebSpec:
    options = site.element
    client = ClientSpec(
        url=f"https://{site.hosts.element}",
        homeserver=f"https://{site.hosts.matrix}",
        server_name=site.server_name,
        brand=options.brand,
        theme=Theme(options.theme.value),
        help_url=options.help_url,
        custom_homeservers=options.custom_homeservers,
        registration=site.registration.enabled,
        federation=site.features.federation,
        calls=homeserver.calls is not None,
        login_elsewhere=homeserver.authentication is not None,
    )
    return ElementWebSpec(client, _host(site, "element"))


def _push(site: Site) -> PushSpec:
    apns = site.push.apns
    topics = [(apns.apps, False), (apns.sandbox_apps, True)] if apns else []
    apps = tuple(ApnsApp(app, topic, sandbox) for group, sandbox in topics for app, topic in group)
    return PushSpec(
        apns=Apns(apns.key_id, apns.team_id, apps) if apns else None,
        fcm=tuple(FcmApp(app, project) for app, project in site.push.fcm_apps),
    )


def _well_known(site: Site, homeserver: synapse.HomeserverSpec) -> WellKnown | None:
    if not site.well_known.publish:
        return None
    support = site.well_known.support
    contacts = {"m.role.admin": support.admin, "m.role.security": support.security}
    return WellKnown(
        homeserver=f"https://{site.hosts.matrix}",
        # The authorisation service of calls finds the homeserver as another server would.
        delegated_to=f"{site.hosts.matrix}:443" if site.features.federation or site.features.calls else None,
        livekit_service_url=homeserver.calls.livekit_service_url if homeserver.calls else None,
        issuer=f"https://{site.hosts.auth}/" if site.features.authentication_service else None,
        contacts=tuple(Contact(role, who.email, who.matrix_id) for role, who in contacts.items() if who.email or who.matrix_id),
        support_page=support.page,
    )


def _ingress(site: Site) -> IngressSpec:
    ingress, tls = site.ingress, site.tls
    return IngressSpec(
        class_name=ingress.class_name,
        controller_namespace=ingress.controller_namespace,
        gateway=Gateway(ingress.gateway.name, ingress.gateway.namespace) if ingress.gateway else None,
        annotations=ingress.annotations,
        trusted_proxies=ingress.trusted_proxies,
        source=CertificateSource(tls.source.value),
        issuer=tls.cluster_issuer,
        acme_server=tls.acme.server,
        acme_email=tls.acme.email,
        cert_manager_namespace=tls.cert_manager_namespace,
    )


def _object_storage(installation: Installation, site: Site, profile: Profile) -> tuple[Bucket, Bucket]:
    """The buckets of the main instance, for media and for backups, wherever they are."""
    main, names = site.namespaces.main, site.object_storage.buckets
    if site.object_storage.external:
        storage = ExternalStorage(installation, main, _external(site.object_storage.external))
        return storage.bucket(names.media, "media"), storage.bucket(names.backups, "backups")
    MinioOperatorRelease(installation, main)
    tenant = MinioTenant(installation, _tenant(site, profile.minio, "minio-main", main, "main-tenant.yaml"))
    media, backups = tenant.bucket(names.media, "media"), tenant.bucket(names.backups, "backups")
    Buckets(installation, tenant, _buckets("minio-main", media, backups))
    if site.features.li:
        tenant = MinioTenant(installation, _tenant(site, profile.minio_li, "minio-li", site.namespaces.li, "li-tenant.yaml"))
        Buckets(
            installation, tenant, _buckets("minio-li", tenant.bucket(names.media_li, "media"), tenant.bucket(names.backups_li, "backups"))
        )
    return media, backups


def _buckets(tenant: str, media: Bucket, backups: Bucket) -> BucketsSpec:
    return BucketsSpec(
        tenant=tenant,
        buckets=(ProvisionedBucket(media.name), ProvisionedBucket(backups.name, keep_deleted_days=7)),
        users=((BucketUser("media", media.name, MEDIA), media), (BucketUser("backups", backups.name, BACKUPS), backups)),
    )


def _external(storage: site_options.ExternalStorage) -> ExternalSpec:
    return ExternalSpec(endpoint=storage.endpoint, region=storage.region, authority_secret=storage.ca_secret)


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
        one_per_node=site.object_storage.minio.one_server_per_node,
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
        max_connections=size.max_connections + (_authentication_connections(profile) if site.features.authentication_service else 0),
        storage_class=site.storage_classes.database,
        backups=Backups(backups, site.backups.schedule, site.backups.retention),
    )


def _authentication_connections(profile: Profile) -> int:
    """What all replicas of the authentication service may open, and one more that comes as another goes."""
    return profile.synapse.database_connections * (profile.haproxy.replicas + 1)


def _authentication_service(installation: Installation, site: Site, profile: Profile, postgresql: PostgresCluster) -> AuthenticationService:
    main, host = site.namespaces.main, _host(site, "auth")
    homeserver = internal_endpoint(installation, main)
    return AuthenticationService(
        installation,
        main,
        AuthenticationSpec(
            configuration=ServiceSpec(
                server_name=site.server_name,
                host=host.name,
                homeserver_url=f"http://{homeserver.address}/",
                database=postgresql.add_database("authentication_service", "authentication-service.yaml"),
                database_connections=profile.synapse.database_connections,
                registration=site.registration.enabled,
                # The ingress controller stands in the pods' network, and HAProxy too.
                trusted_proxies=(*site.ingress.trusted_proxies, *site.cluster.pod_cidrs),
            ),
            host=host,
            homeserver=homeserver,
            replicas=profile.haproxy.replicas,
            # A password that is being checked takes 19 MiB (argon2id).
            resources=Resources(millicores(100), mib(128), gib(1)),
            additions=site.authentication_service.additions,
            identity_provider_cidrs=site.authentication_service.identity_provider_cidrs,
        ),
    )


def _login(authentication: AuthenticationService) -> Upstream:
    http, health = authentication.http, authentication.health
    # Twenty passwords that are being checked at once fit into one replica's memory, and there are as many replicas as proxies.
    return Upstream(authentication.name, LOGIN_ROUTES, f"{http.host}.", http.port, health.port, max_connections=20)


def _coturn(installation: Installation, site: Site, profile: Profile) -> Coturn:
    cluster, calls = site.cluster, site.calls
    # The platform's ACME issuer asks by HTTP, at an address that is coturn's and not the ingress controller's.
    certified = site.tls.source is not TlsSource.ACME
    tls = calls.turn_tls if calls.turn_tls is not None else certified
    settings = CoturnSpec(
        realm=site.hosts.turn,
        relay=calls.relay_ports,
        total_quota=profile.calls.relayed,
        cluster=(*cluster.node_cidrs, *cluster.pod_cidrs, *cluster.service_cidrs),
        peers=calls.relay_to,
        nodes=NodeAddresses(calls.public_addresses),
        tls=Certificate() if tls else None,
    )
    spec = RelaySpec(settings=settings, resources=profile.calls.coturn, host=_host(site, "turn"), certified=certified)
    return Coturn(installation, site.namespaces.rtc, spec)


def _group_calls(installation: Installation, site: Site, profile: Profile, redis: RedisSentinel, proxy: HAProxy) -> None:
    namespace, host = site.namespaces.rtc, _host(site, "rtc")
    password = redis.password.key("password")
    authorisation = LkJwtService(
        installation,
        namespace,
        AuthorisationSpec(
            server_name=site.server_name,
            host=host,
            homeserver=proxy.public,
            redis=redis.primary,
            redis_password=password,
            ingress_namespace=site.ingress.controller_namespace,
            other_servers=site.features.federation,
            # Of other sources only whoever made the Secret knows whether an authority of their own is in it.
            private_authority={TlsSource.INTERNAL_CA: True, TlsSource.ACME: False}.get(site.tls.source),
        ),
    )
    LiveKit(
        installation,
        namespace,
        MediaServerSpec(
            settings=LiveKitSpec(
                media=site.calls.media_ports,
                redis=redis.primary.address,
                api_key=API_KEY,
                webhooks=authorisation.webhooks,
                nodes=NodeAddresses(site.calls.public_addresses),
            ),
            replicas=profile.livekit,
            resources=profile.calls.livekit,
            host=host,
            api_secret=API_SECRET,
            redis=redis.primary,
            redis_password=password,
            webhook=authorisation.webhook,
        ),
    )


def _old_signing_keys(site: Site) -> dict[str, Any]:
    keys = {name: {"key": key.public, "expired_ts": key.ended_ms} for name, key in site.old_signing_keys}
    return {"old_signing_keys": keys} if keys else {}


def _homeserver(
    site: Site,
    profile: Profile,
    database: Database,
    redis: RedisSentinel,
    media: Bucket,
    authentication: AuthenticationService | None,
    turn: Coturn | None,
) -> synapse.HomeserverSpec:
    lifetimes = {"local_media_lifetime": site.media.local_lifetime, "remote_media_lifetime": site.media.remote_lifetime}
    retention = {name: lifetime for name, lifetime in lifetimes.items() if lifetime}
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
        federation=synapse.Federation(domains=site.federation.allowed_domains or None) if site.features.federation else None,
        registration=site.registration.enabled and not authentication,
        authentication=synapse.AuthenticationService(f"http://{authentication.http.address}/", process.AUTHENTICATION_SECRET)
        if authentication
        else None,
        turn=synapse.Turn(turn.uris, process.TURN_SECRET) if turn else None,
        calls=synapse.MatrixRtc(f"https://{site.hosts.rtc}", f"wss://{site.hosts.rtc}") if site.features.calls else None,
        # Sygnal's Service has a private address, and Synapse calls none but those that it is told.
        reachable_networks=site.cluster.service_cidrs if site.features.push else (),
        extra=({"media_retention": retention} if retention else {}) | _old_signing_keys(site),
    )
