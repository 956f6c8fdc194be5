"""What an installation can choose: one frozen class per section of site.yaml, one field per option.

A section stands with the component that it is for, in its `options.py`; here are those of the whole platform, and `Site`, which holds all.
The reader, site.schema.json and docs/site-reference.md are derived from these fields, so an option is added, renamed or removed
there and nowhere else.
"""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import evolve, fields, frozen

from antivirus.options import CLAMAV, AntivirusOptions
from app.gitops.options import GitopsOptions, ProfileName
from infrastructure.ingress.options import IngressOptions, TlsOptions
from infrastructure.object_storage.options import OWN, ObjectStorageBackend, ObjectStorageOptions, Pools
from infrastructure.postgresql.options import BackupOptions, BackupStore, PostgresqlBackend, PostgresqlOptions
from infrastructure.redis.options import RedisOptions
from infrastructure.secret_provider.options import SecretsOptions
from kit.facts import Cluster, Facts, Images, StorageClasses
from kit.formats import HostName, Label, OldSigningKeys, ServerName, VolumeSize
from kit.network import Host
from kit.options import When, option, required, section
from kit.placement import Placements
from li_instance.options import LiOptions
from main_instance.application_services.options import APPLICATION_SERVICES, ApplicationServices
from main_instance.authentication_service.options import AuthenticationServiceOptions
from main_instance.calls.options import OWN_HOSTS, CallsOptions
from main_instance.element_web.options import ElementOptions
from main_instance.haproxy.options import WellKnownOptions
from main_instance.login.options import LoginOptions
from main_instance.mail.options import MAIL, MailOptions
from main_instance.state_compressor.options import StateCompressorOptions
from main_instance.sygnal.options import PUSH_SERVICES, PushOptions
from main_instance.synapse.options import (
    FEDERATION,
    SINGLE_SIGN_ON,
    FederationOptions,
    HomeserverOptions,
    MediaOptions,
    RegistrationOptions,
)
from monitoring.options import KUBELETS, Mode, MonitoringOptions


@frozen(kw_only=True)
class Hosts:
    """Host names under which the platform is reached, all different. The server name itself serves `/.well-known/matrix`."""

    matrix: HostName = option("matrix.<server_name>", "Client and federation API of the homeserver.")
    element: HostName = option("element.<server_name>", "Element Web.")
    admin: HostName = option(
        "admin.<server_name>",
        "Administration of the homeserver, for who may come (`ingress.admin_source_ranges`): Ketesa, and the API for other tools.",
    )
    rtc: HostName = option("rtc.<server_name>", "Calls: LiveKit signalling and its authorisation service.")
    auth: HostName = option("auth.<server_name>", "Where people log in, with the Matrix Authentication Service.")
    grafana: HostName = option("grafana.<server_name>", "Grafana, for who runs the platform.")
    turn: HostName = option("turn.<server_name>", "TURN; must resolve to the nodes that run coturn, not to the ingress.")
    matrix_li: HostName = option("matrix-li.<server_name>", "Homeserver of the lawful-interception instance, for officers' programs.")
    element_li: HostName = option("element-li.<server_name>", "Element Web of the lawful-interception instance.")
    admin_li: HostName = option("admin-li.<server_name>", "Ketesa, the administration of the lawful-interception instance.")
    cases_li: HostName = option("cases-li.<server_name>", "Where officers request, approve and read cases.")


@frozen(kw_only=True)
class Namespaces:
    """Namespaces that the platform creates and owns, all different."""

    main: Label = option("matrix", "The platform.")
    li: Label = option("matrix-li", "The lawful-interception instance, apart from everything else.")
    rtc: Label = option("matrix-rtc", "Calls. Its pods may be in the network of their nodes, which no other namespace allows.")
    monitoring: Label = option("matrix-monitoring", "What watches the rest.")
    backups: Label = option("matrix-backups", "The MinIO that keeps backups, with `backups.object_storage.backend: minio` or `silo`.")


@frozen(kw_only=True)
class Features:
    """Parts of the platform that can be left out."""

    calls: bool = option(
        False, "Voice and video: LiveKit, its authorisation service and coturn (`main-instance/04` to `06`).", opens=(OWN_HOSTS,)
    )
    antivirus: bool = option(False, "Scanning of media by ClamAV (`antivirus/`).", opens=(CLAMAV,))
    monitoring: bool = option(False, "Metrics, alerts, dashboards and logs (`monitoring/`).", opens=(KUBELETS,))
    push: bool = option(
        False, "Push to mobile apps that you publish yourself, by Sygnal (`main-instance/07-sygnal`).", opens=(PUSH_SERVICES,)
    )
    li: bool = option(False, "Lawful interception (`li-instance/` and `main-instance/08-key-vault`).")
    authentication_service: bool = option(
        False,
        "Login by OAuth 2.0: the Matrix Authentication Service has the accounts' passwords and sessions in place of Synapse "
        "(`main-instance/09-matrix-authentication-service`). Where there are accounts already, they must be migrated as it is turned on.",
    )
    federation: bool = option(
        False, "Exchange with other Matrix servers: what `federation` says of them can be called, and calls in.", opens=(FEDERATION,)
    )


_OWN_DATABASE = When("postgresql.backend", PostgresqlBackend.CLOUDNATIVE_PG)


@frozen(kw_only=True)
class StorageSizes:
    """Volumes that are the same in every size: what exists stays, and a smaller size keeps it. `python -m app plan` says what to write here."""

    database: VolumeSize | None = option(
        None, "Data volume of each instance of `postgresql-main`.", otherwise="the profile's", only_with=_OWN_DATABASE
    )
    write_ahead_log: VolumeSize | None = option(
        None, "WAL volume of each instance of `postgresql-main`.", otherwise="the profile's", only_with=_OWN_DATABASE
    )
    database_li: VolumeSize | None = option(
        None, "Data volume of each instance of `postgresql-li`.", otherwise="the profile's", only_with=When("features.li", True)
    )
    write_ahead_log_li: VolumeSize | None = option(
        None, "WAL volume of each instance of `postgresql-li`.", otherwise="the profile's", only_with=When("features.li", True)
    )
    object_storage_drive: VolumeSize | None = option(
        None,
        "Each drive of MinIO, where `pools` says nothing of its tenant.",
        otherwise="the profile's",
        only_with=OWN,
    )
    pools: Pools = section(Pools)
    metrics: VolumeSize | None = option(
        None, "The volume of Prometheus.", otherwise="the profile's", only_with=When("features.monitoring", True)
    )


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
    placement: Placements = option(
        (),
        "Where pods run and what they get, by the name of a component, such as `synapse`, or of one workload, such as `synchrotron`.",
        otherwise="as the platform and the profile say",
    )
    storage_classes: StorageClasses = section(StorageClasses)
    storage_sizes: StorageSizes = section(StorageSizes)
    shrinking_from: ProfileName | None = option(
        None,
        "The profile that is being left for a smaller one: quotas admit its pods too, until you remove the line when they have gone: "
        "docs/02-SCALING-GUIDE.md.",
        otherwise="quotas admit what the profile has",
    )
    ingress: IngressOptions = section(IngressOptions)
    tls: TlsOptions = section(TlsOptions)
    secrets: SecretsOptions = section(SecretsOptions)
    object_storage: ObjectStorageOptions = section(ObjectStorageOptions)
    postgresql: PostgresqlOptions = section(PostgresqlOptions)
    redis: RedisOptions = section(RedisOptions)
    calls: CallsOptions = section(CallsOptions, only_with=When("features.calls", True))
    federation: FederationOptions = section(FederationOptions, only_with=When("features.federation", True))
    well_known: WellKnownOptions = section(WellKnownOptions)
    element: ElementOptions = section(ElementOptions)
    push: PushOptions = section(PushOptions)
    mail: MailOptions | None = option(None, opens=(MAIL,), otherwise="no mail is sent")
    old_signing_keys: OldSigningKeys = option(
        (),
        "Each key by which the homeserver signed before its present one, by its id: events that it signed must stay verifiable. "
        "docs/03-OPERATIONS-GUIDE.md says when to put a key here.",
        otherwise="`{}`",
    )
    media: MediaOptions = section(MediaOptions)
    antivirus: AntivirusOptions = section(AntivirusOptions, only_with=When("features.antivirus", True))
    login: LoginOptions = section(LoginOptions)
    application_services: ApplicationServices = option(
        (),
        "Bridges and bots, each by a name. Synapse knows them by a registration, whose tokens are made.",
        otherwise="none",
        opens=(APPLICATION_SERVICES,),
    )
    monitoring: MonitoringOptions = section(MonitoringOptions, only_with=When("features.monitoring", True))
    registration: RegistrationOptions = section(RegistrationOptions)
    homeserver: HomeserverOptions = section(HomeserverOptions)
    state_compressor: StateCompressorOptions | None = option(None, otherwise="the state of rooms stays as Synapse writes it")
    authentication_service: AuthenticationServiceOptions = section(
        AuthenticationServiceOptions, only_with=When("features.authentication_service", True)
    )
    li: LiOptions = section(LiOptions, only_with=When("features.li", True))
    backups: BackupOptions = section(BackupOptions, only_with=When("postgresql.backend", PostgresqlBackend.CLOUDNATIVE_PG))
    gitops: GitopsOptions | None = option(None, otherwise="`dist/` has no folder for Argo CD and none for Flux")

    def __attrs_post_init__(self) -> None:
        named = {host.name: getattr(self.hosts, host.name).replace("<server_name>", self.domain) for host in fields(Hosts)}
        object.__setattr__(self, "hosts", evolve(self.hosts, **named))

    @property
    def domain(self) -> str:
        """The server name without its port."""
        return self.server_name.partition(":")[0]

    @property
    def facts(self) -> Facts:
        """What every component may ask."""
        return Facts(self.images, self.cluster, self.storage_classes, self.placement, self.namespaces.main)

    @property
    def keeps_logs(self) -> bool:
        """Whether the platform runs Loki."""
        return self.features.monitoring and self.monitoring.mode is Mode.BUNDLED

    @property
    def has_tenants(self) -> bool:
        """Whether MinIO's operator is needed."""
        return self.object_storage.backend is ObjectStorageBackend.MINIO or self.backups.object_storage.backend is BackupStore.MINIO

    @property
    def single_sign_on(self) -> bool:
        """Whether Synapse sends people to somebody else to log in."""
        return bool(self.login.providers) or not SINGLE_SIGN_ON.isdisjoint(self.homeserver.extra.data)

    def host(self, name: str) -> Host:
        """One of `hosts` by its key, with the Secret of its certificate."""
        return Host(getattr(self.hosts, name), getattr(self.tls.secret_names, name))

    @property
    def domain_host(self) -> Host:
        """The host of the server name itself. It may be one of `hosts`, and has that one's certificate then."""
        same = (self.host(host.name) for host in fields(Hosts) if getattr(self.hosts, host.name) == self.domain)
        return next(same, Host(self.domain, self.tls.secret_names.well_known))
