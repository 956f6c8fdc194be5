"""What an installation can choose: one frozen class per section of site.yaml, one field per option.

The reader, site.schema.json and docs/site-reference.md are derived from these fields, so an option is added, renamed or removed
here and nowhere else.
"""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Any, Final

from attrs import Factory, evolve, fields, frozen

from app.formats import (
    AddressMap,
    Annotations,
    AppleId,
    BackupAge,
    Bucket,
    Cidr,
    Email,
    FileSize,
    HostName,
    HttpsUrl,
    Image,
    Label,
    Line,
    MediaAge,
    Name,
    OldSigningKeys,
    Projects,
    Region,
    Repository,
    Schedule,
    ServerName,
    Topics,
    UdpPorts,
    Url,
    UserId,
    VolumeSize,
)
from app.options import OnlyWith, option, required, section
from kit.network import PortRange
from kit.quantities import mib


class IngressType(StrEnum):
    """The objects that publish a host: Ingress, or HTTPRoute of the Gateway API."""

    INGRESS = "ingress"
    GATEWAY = "gateway"


class TlsSource(StrEnum):
    """Where the certificates of the hosts come from."""

    ACME = "acme"
    CLUSTER_ISSUER = "cluster-issuer"
    INTERNAL_CA = "internal-ca"
    EXISTING = "existing"


class SecretProvider(StrEnum):
    """Who makes the Secrets."""

    GENERATE = "generate"
    EXTERNAL = "external"
    MANUAL = "manual"


class StoreKind(StrEnum):
    """The kinds of store of the External Secrets Operator."""

    CLUSTER_SECRET_STORE = "ClusterSecretStore"
    SECRET_STORE = "SecretStore"


class ObjectStorageBackend(StrEnum):
    """Where objects are kept."""

    MINIO = "minio"
    EXTERNAL = "external"


@frozen(kw_only=True)
class Hosts:
    """Host names under which the platform is reached, all different. The server name itself serves `/.well-known/matrix`."""

    matrix: HostName = option("matrix.<server_name>", "Client and federation API of the homeserver.")
    element: HostName = option("element.<server_name>", "Element Web.")
    admin: HostName = option("admin.<server_name>", "The homeserver's admin API, for the tools of administrators.")
    rtc: HostName = option("rtc.<server_name>", "Calls: LiveKit signalling and its authorisation service.")
    auth: HostName = option("auth.<server_name>", "Where people log in, with the Matrix Authentication Service.")
    turn: HostName = option("turn.<server_name>", "TURN; must resolve to the nodes that run coturn, not to the ingress.")
    matrix_li: HostName = option("matrix-li.<server_name>", "Client API of the lawful-interception homeserver.")
    element_li: HostName = option("element-li.<server_name>", "Element Web of the lawful-interception instance.")
    admin_li: HostName = option("admin-li.<server_name>", "Administration of the lawful-interception instance.")


@frozen(kw_only=True)
class Namespaces:
    """Namespaces that the platform creates and owns, all different."""

    main: Label = option("matrix", "The platform.")
    li: Label = option("matrix-li", "The lawful-interception instance, apart from everything else.")
    rtc: Label = option("matrix-rtc", "Calls. Its pods may be in the network of their nodes, which no other namespace allows.")


@frozen(kw_only=True)
class Dns:
    """Where the cluster's DNS answers: every pod that may call anything may ask it."""

    namespace: Label = option("kube-system", "Namespace of its pods; on OpenShift `openshift-dns`.")
    cidrs: tuple[Cidr, ...] = option(
        ("169.254.20.10/32",), "Addresses at which it answers outside of pods: NodeLocal DNSCache, or DNS in the network of the nodes."
    )


@frozen(kw_only=True)
class Cluster:
    """What the platform must know about the Kubernetes cluster."""

    domain: HostName = option("cluster.local", "The cluster's DNS domain.")
    dns: Dns = section(Dns)
    multi_zone: bool = option(
        False, "Whether the nodes stand in several zones (`topology.kubernetes.io/zone`) over which replicas are spread."
    )
    api_server_cidrs: tuple[Cidr, ...] = option(
        (), "Addresses of the API server's endpoints. Empty: who needs it may reach ports 443 and 6443 of any address."
    )
    node_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of the nodes, of their tunnels too where the network plugin has some (such as `flannel.1`): pods in the network of a "
        "node come from them, and TURN does not relay to them.",
        only_with=OnlyWith("features.calls", True, needed=True, idle=False),
    )
    pod_cidrs: tuple[Cidr, ...] = option((), "Addresses of the pods, to which TURN does not relay.")
    service_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of the Services, to which TURN does not relay. With push Synapse may call them: Sygnal is there.",
        only_with=OnlyWith("features.push", True, needed=True, idle=False),
    )


_BY_DEFAULT: Final[Any] = Factory(lambda classes: classes.default, takes_self=True)


@frozen(kw_only=True)
class StorageClasses:
    """StorageClass of each kind of volume."""

    default: Name | None = option(None, "For every volume without a class of its own.", otherwise="the cluster's default class")
    database: Name | None = option(
        _BY_DEFAULT,
        "PostgreSQL, data and write-ahead log: local SSDs or as fast.",
        otherwise="`storage_classes.default`",
    )
    object_storage: Name | None = option(
        _BY_DEFAULT,
        "Drives of MinIO: local, never replicated below it.",
        otherwise="`storage_classes.default`",
    )
    media_cache: Name | None = option(_BY_DEFAULT, "Media caches of Synapse.", otherwise="`storage_classes.default`")


@frozen(kw_only=True)
class StorageSizes:
    """Sizes of volumes where this site differs from its profile."""

    database: VolumeSize | None = option(None, "Data volume of each PostgreSQL instance.", otherwise="the profile's")
    write_ahead_log: VolumeSize | None = option(None, "WAL volume of each PostgreSQL instance.", otherwise="the profile's")
    object_storage_drive: VolumeSize | None = option(
        None, "Each drive of MinIO.", otherwise="the profile's", only_with=OnlyWith("object_storage.backend", ObjectStorageBackend.MINIO)
    )


@frozen(kw_only=True)
class Images:
    """Where container images come from."""

    registry: Repository = required("Registry, with path, that holds the images built from `services/`.")
    mirror: Repository | None = option(
        None, "Registry, with path, that takes the place of the registry host of every other image: for air-gapped sites."
    )
    pull_secrets: tuple[Name, ...] = option((), "Secrets with registry credentials, in each namespace.")


@frozen(kw_only=True)
class Gateway:
    """The Gateway that HTTPRoutes attach to."""

    name: Name = required("Its name.")
    namespace: Label = required("Its namespace.")


@frozen(kw_only=True)
class Ingress:
    """How requests from outside come in."""

    type: IngressType = option(IngressType.INGRESS, "Publish hosts by Ingress objects or by HTTPRoutes of the Gateway API.")
    class_name: Name = option("traefik", "IngressClass of every Ingress.", only_with=OnlyWith("ingress.type", IngressType.INGRESS))
    gateway: Gateway | None = option(None, only_with=OnlyWith("ingress.type", IngressType.GATEWAY, needed=True))
    controller_namespace: Label = option(
        "traefik", "Namespace of the ingress controller, or of the Gateway's proxies: requests come from there."
    )
    annotations: Annotations = option((), "Put on every Ingress or HTTPRoute.", otherwise="`{}`")
    trusted_proxies: tuple[Cidr, ...] = option(
        (), "Load balancers in front of the ingress controller, whose `X-Forwarded-For` is believed."
    )
    admin_source_ranges: tuple[Cidr, ...] = option(
        (), "Client addresses that reach `hosts.admin`; only the ingress class `traefik` can tell them. Empty: the host is not published."
    )
    li_source_ranges: tuple[Cidr, ...] = option(
        (), "Client addresses that reach the lawful-interception hosts. Empty: they are not published."
    )


@frozen(kw_only=True)
class Acme:
    """The ACME account that the platform's own issuer uses."""

    server: HttpsUrl = option("https://acme-v02.api.letsencrypt.org/directory", "Directory of the certification authority.")
    email: Email | None = option(None, "Contact that the authority may write to.")


@frozen(kw_only=True)
class TlsSecretNames:
    """Secret with the certificate of each host, in the host's namespace; several hosts may share one."""

    well_known: Name = option("well-known-tls", "Of the server name.")
    matrix: Name = option("matrix-tls", "Of `hosts.matrix`.")
    element: Name = option("element-tls", "Of `hosts.element`.")
    admin: Name = option("admin-tls", "Of `hosts.admin`.")
    rtc: Name = option("rtc-tls", "Of `hosts.rtc`.")
    auth: Name = option("auth-tls", "Of `hosts.auth`.")
    turn: Name = option("turn-tls", "Of `hosts.turn`.")
    matrix_li: Name = option("matrix-li-tls", "Of `hosts.matrix_li`.")
    element_li: Name = option("element-li-tls", "Of `hosts.element_li`.")
    admin_li: Name = option("admin-li-tls", "Of `hosts.admin_li`.")


@frozen(kw_only=True)
class Tls:
    """Certificates of the hosts."""

    source: TlsSource = option(
        TlsSource.ACME,
        "`acme`: cert-manager, by an issuer that the platform makes. `cluster-issuer`: cert-manager, by a ClusterIssuer that exists. "
        "`internal-ca`: cert-manager, by an authority that the platform makes. `existing`: Secrets that you provide.",
    )
    acme: Acme = section(Acme, only_with=OnlyWith("tls.source", TlsSource.ACME))
    cluster_issuer: Name | None = option(
        None, "Name of the ClusterIssuer.", only_with=OnlyWith("tls.source", TlsSource.CLUSTER_ISSUER, needed=True)
    )
    cert_manager_namespace: Label = option(
        "cert-manager",
        "Where cert-manager keeps the Secrets of its ClusterIssuers (`--cluster-resource-namespace`): the root of the internal authority.",
        only_with=OnlyWith("tls.source", TlsSource.INTERNAL_CA),
    )
    secret_names: TlsSecretNames = section(TlsSecretNames)


@frozen(kw_only=True)
class SecretStore:
    """The store of the External Secrets Operator."""

    name: Name = required("Its name.")
    kind: StoreKind = option(StoreKind.CLUSTER_SECRET_STORE, "Its kind.")


@frozen(kw_only=True)
class Secrets:
    """Who makes the Secrets. No secret value is ever in site.yaml or in the output."""

    provider: SecretProvider = option(
        SecretProvider.GENERATE,
        "`generate`: a Job in the cluster makes what is missing. `external`: ExternalSecrets fetch them. "
        "`manual`: you apply them before anything else.",
    )
    store: SecretStore | None = option(None, only_with=OnlyWith("secrets.provider", SecretProvider.EXTERNAL, needed=True))


@frozen(kw_only=True)
class Minio:
    """The MinIO that the platform runs."""

    image: Image | None = option(None, "Server image in place of the platform's own choice.", otherwise="that of `images.toml`")
    one_server_per_node: bool = option(
        False,
        "Whether two servers of a tenant may never share a node. It needs a node for each: docs/02-SCALING-GUIDE.md says how many.",
    )


@frozen(kw_only=True)
class ExternalStorage:
    """An S3 that exists."""

    endpoint: Url = required("Its URL.")
    region: Region = option("us-east-1", "Its region.")
    ca_secret: Name | None = option(
        None, "Secret with `ca.crt`, the authority of its certificate, in each namespace.", otherwise="public authorities"
    )


@frozen(kw_only=True)
class Buckets:
    """Bucket names, all different."""

    media: Bucket = option("matrix-media", "Media of the homeserver.")
    backups: Bucket = option("matrix-backups", "Database backups.")
    logs: Bucket = option("matrix-logs", "Logs of all pods.")
    media_li: Bucket = option("matrix-li-media", "Media of the lawful-interception instance.")
    backups_li: Bucket = option("matrix-li-backups", "Database backups of the lawful-interception instance.")


@frozen(kw_only=True)
class ObjectStorage:
    """Where media, backups and logs are kept. Credentials come in Secrets."""

    backend: ObjectStorageBackend = option(ObjectStorageBackend.MINIO, "`minio`: the platform runs it. `external`: any S3 that exists.")
    minio: Minio = section(Minio, only_with=OnlyWith("object_storage.backend", ObjectStorageBackend.MINIO))
    external: ExternalStorage | None = option(
        None, only_with=OnlyWith("object_storage.backend", ObjectStorageBackend.EXTERNAL, needed=True)
    )
    buckets: Buckets = section(Buckets, distinct=True)


@frozen(kw_only=True)
class Features:
    """Parts of the platform that can be left out."""

    calls: bool = option(False, "Voice and video: LiveKit, its authorisation service and coturn (`main-instance/04` to `06`).")
    antivirus: bool = option(False, "Scanning of media by ClamAV (`antivirus/`).")
    monitoring: bool = option(False, "Prometheus, Alertmanager, Grafana and Loki (`monitoring/`).")
    push: bool = option(False, "Push to mobile apps that you publish yourself, by Sygnal (`main-instance/07-sygnal`).")
    li: bool = option(False, "Lawful interception (`li-instance/` and `main-instance/08-key-vault`).")
    authentication_service: bool = option(
        False,
        "Login by OAuth 2.0: the Matrix Authentication Service has the accounts' passwords and sessions in place of Synapse "
        "(`main-instance/09-matrix-authentication-service`). Where there are accounts already, they must be migrated as it is turned on.",
    )
    federation: bool = option(False, "Exchange with other Matrix servers: routes, workers and connections to the outside.")


@frozen(kw_only=True)
class Calls:
    """Voice and video. The nodes that carry it have the labels `matrix-platform/livekit` and `matrix-platform/coturn`, or one of them."""

    public_addresses: AddressMap = option(
        (),
        "Of each of these nodes that clients do not reach by its own address (the node's InternalIP): its own address, and the one "
        "that they reach.",
        otherwise="`{}`",
    )
    media_ports: UdpPorts = option(PortRange(50_000, 54_999, "UDP"), "UDP ports for the media of group calls, two for each participant.")
    relay_ports: UdpPorts = option(PortRange(55_000, 59_999, "UDP"), "UDP ports from which TURN relays, one for each relayed address.")
    relay_to: tuple[Cidr, ...] = option(
        (), "Private networks to which TURN relays all the same: those of the users in an intranet. The cluster's own are left out."
    )
    turn_tls: bool | None = option(
        None,
        "Whether TURN is served by TLS too, on port 5349. With `tls.source: acme` you provide the certificate, in the Secret "
        "`tls.secret_names.turn`: the host leads to nodes, and the platform's issuer can prove the possession of those alone that lead "
        "to the ingress.",
        otherwise="`true`, and `false` with `tls.source: acme`",
    )


@frozen(kw_only=True)
class Federation:
    """Which other Matrix servers may talk to this one."""

    allowed_domains: tuple[ServerName, ...] = option((), "Server names. Empty: every server.")


class Theme(StrEnum):
    """What users of Element Web see who have chosen no theme."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@frozen(kw_only=True)
class Element:
    """Element Web, the client for the browser."""

    brand: Line = option("Element", "What it calls itself.")
    theme: Theme = option(Theme.SYSTEM, "For users who have chosen none; `system`: what their device prefers.")
    help_url: HttpsUrl | None = option(None, "Where its help leads.", otherwise="Element's own pages")
    custom_homeservers: bool = option(False, "Whether people may use it to log in to other homeservers.")


@frozen(kw_only=True)
class Apns:
    """Push to Apple's devices. The authentication key goes into the Secret `push-credentials`, as `apns.p8`."""

    key_id: AppleId = required("Id of the authentication key.")
    team_id: AppleId = required("The team that publishes the apps.")
    apps: Topics = option((), "App id that each app gives to the homeserver, to its topic: the bundle id.", otherwise="`{}`")
    sandbox_apps: Topics = option((), "The same for development builds, which Apple reaches by its sandbox.", otherwise="`{}`")


@frozen(kw_only=True)
class Push:
    """The apps that notifications are pushed to: only who publishes an app can push to it."""

    apns: Apns | None = option(None)
    fcm_apps: Projects = option(
        (),
        "App id of each app that Firebase Cloud Messaging reaches, to its Firebase project. The key of a service account of each project "
        "goes into the Secret `push-credentials`, as `fcm-<project>.json`.",
        otherwise="`{}`",
    )


@frozen(kw_only=True)
class Contact:
    """Somebody to write to."""

    email: Email | None = option(None, "E-mail address.")
    matrix_id: UserId | None = option(None, "Matrix user id.")


@frozen(kw_only=True)
class Support:
    """Whom people of other servers may write to about this one (`/.well-known/matrix/support`); not published without an entry."""

    page: HttpsUrl | None = option(None, "A page that says how to get help.")
    admin: Contact = section(Contact)
    security: Contact = section(Contact)


@frozen(kw_only=True)
class WellKnown:
    """What the server name says of itself: where its homeserver is, and who runs it."""

    publish: bool = option(
        True,
        "Whether the platform answers for `https://<server name>/.well-known/matrix`. If another web server is there, that one must: "
        "docs/01-DEPLOYMENT-GUIDE.md says what.",
    )
    support: Support = section(Support, only_with=OnlyWith("well_known.publish", True))


@frozen(kw_only=True)
class Media:
    """Files that users send."""

    max_upload_size: FileSize = option(mib(100), "Largest upload.")
    local_lifetime: MediaAge | None = option(
        None, "Age since last access at which media of own users are deleted.", otherwise="kept for ever"
    )
    remote_lifetime: MediaAge | None = option(
        None, "Age since last access at which copies of other servers' media are deleted.", otherwise="kept for ever"
    )


@frozen(kw_only=True)
class Registration:
    """How accounts come to be."""

    enabled: bool = option(
        False, "Whether people may sign up themselves, with a registration token. Administrators can always create accounts."
    )


@frozen(kw_only=True)
class AuthenticationService:
    """The Matrix Authentication Service."""

    additions: bool = option(
        False,
        "Whether you give it further configuration, such as identity providers (`upstream_oauth2`): `config.yaml` in the Secret "
        "`matrix-authentication-service-additions`. It may then call port 443 of any address on the internet.",
    )
    identity_provider_cidrs: tuple[Cidr, ...] = option(
        (), "Addresses of identity providers in place of any on the internet.", only_with=OnlyWith("authentication_service.additions", True)
    )


@frozen(kw_only=True)
class Backups:
    """Backups of the databases, beside the continuous archive of their write-ahead logs."""

    schedule: Schedule = option("0 0 2 * * *", "When a base backup is taken, in UTC: six cron fields, of which the first is seconds.")
    retention: BackupAge = option("30d", "How far back a database can be restored: days (d), weeks (w) or months (m).")


@frozen(kw_only=True)
class Site:
    """The choices of one installation: what site.yaml says, with defaults for the rest."""

    server_name: ServerName = required(
        "The part of user ids after the colon. It can never change later. A port belongs here only if user ids shall carry it."
    )
    hosts: Hosts = section(Hosts, distinct=True)
    images: Images
    features: Features = section(Features)
    namespaces: Namespaces = section(Namespaces, distinct=True)
    cluster: Cluster = section(Cluster)
    network_policies: bool = option(
        True,
        "Whether nothing may talk to anything but as the components declare, in both directions. `false`: there is no NetworkPolicy at all, "
        "for a cluster whose network plugin knows none or that keeps its own.",
    )
    storage_classes: StorageClasses = section(StorageClasses)
    storage_sizes: StorageSizes = section(StorageSizes)
    ingress: Ingress = section(Ingress)
    tls: Tls = section(Tls)
    secrets: Secrets = section(Secrets)
    object_storage: ObjectStorage = section(ObjectStorage)
    calls: Calls = section(Calls, only_with=OnlyWith("features.calls", True))
    federation: Federation = section(Federation, only_with=OnlyWith("features.federation", True))
    well_known: WellKnown = section(WellKnown)
    element: Element = section(Element)
    push: Push = section(Push, only_with=OnlyWith("features.push", True))
    old_signing_keys: OldSigningKeys = option(
        (),
        "Each key by which the homeserver signed before its present one, by its id: events that it signed must stay verifiable. "
        "docs/03-OPERATIONS-GUIDE.md says when to put a key here.",
        otherwise="`{}`",
    )
    media: Media = section(Media)
    registration: Registration = section(Registration)
    authentication_service: AuthenticationService = section(
        AuthenticationService, only_with=OnlyWith("features.authentication_service", True)
    )
    backups: Backups = section(Backups)

    def __attrs_post_init__(self) -> None:
        named = {host.name: getattr(self.hosts, host.name).replace("<server_name>", self.domain) for host in fields(Hosts)}
        object.__setattr__(self, "hosts", evolve(self.hosts, **named))

    @property
    def domain(self) -> str:
        """The server name without its port."""
        return self.server_name.partition(":")[0]


RESERVED = frozenset(
    {
        *(f"hosts.{name}" for name in ("matrix_li", "element_li", "admin_li")),
        *(f"tls.secret_names.{name}" for name in ("matrix_li", "element_li", "admin_li")),
        *(f"features.{name}" for name in ("antivirus", "monitoring")),
        "storage_classes.media_cache",
        "ingress.li_source_ranges",
        "object_storage.buckets.logs",
    }
)
"""Options of components that the platform does not deploy: they are checked, so that a site can be written down whole, and have no effect."""
