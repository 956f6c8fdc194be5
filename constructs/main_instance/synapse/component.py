"""Synapse: the main process and every worker type, each a StatefulSet whose pods are named like the workers they are."""

from collections.abc import Iterator

from attrs import field, frozen

from infrastructure.object_storage.s3 import Bucket
from infrastructure.programs import ROOT, program_files
from kit.autoscaling import Autoscaled, Measure
from kit.component import Component, NewRelease, Priority, Stop, Workload
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Host, Port
from kit.place import Place
from kit.pods import ConfigMap, Container, Mount, PodField, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Bytes, Resources, gib, mib, millicores
from kit.secrets import Change, Form, Given, KeyRef, RandomText, SecretSpec, Shared, SynapseSigningKey
from kit.text import yaml_text
from main_instance.application_services import configuration as application_services
from main_instance.login.configuration import CLIENT_SECRET, LDAP_PASSWORD, ldap_ways, provider_ways, secret_name
from main_instance.login.options import LoginOptions
from main_instance.mail.configuration import FILE as MAIL_FILE
from main_instance.mail.configuration import PASSWORD, file_secret, password_secret, synapse_section, way_out
from main_instance.mail.options import MailOptions
from main_instance.sygnal.options import PUSH_GATEWAYS, Gateways, PushOptions
from main_instance.synapse import process
from main_instance.synapse.alerts import ALERTS
from main_instance.synapse.configuration import (
    CLIENT_PORT,
    HEALTH_PORT,
    MAIN_SECRETS,
    METRICS_PORT,
    REPLICATION_PORT,
    SHARED_SECRETS,
    HomeserverSpec,
    Module,
    calls_other_servers,
    homeserver_config,
    log_config,
    main_config,
    shard_config,
    worker_config,
)
from main_instance.synapse.fleet import Fleet
from main_instance.synapse.options import FEDERATION, WEB_PAGES, FederationOptions
from main_instance.synapse.worker_type import Duty, Listener, WorkerType
from main_instance.synapse.workers import AUTHENTICATING, CALLING_APPLICATION_SERVICES, MAIN

CLIENT = Port("http", CLIENT_PORT)
REPLICATION = Port("replication", REPLICATION_PORT)
HEALTH = Port("health", HEALTH_PORT)
ALIVE = Port("alive", process.ALIVE_PORT)
METRICS = Port("metrics", METRICS_PORT)
_METRICS_PATH = "/_synapse/metrics"
SERIES = 2_600
"""Of one process: at most 2508 after every route was used, 1500 of most."""

EXTRA, MODULE = "synapse-extra", "synapse-module"
"""The Secret with options of the site's own, and how those of modules begin."""
MAIL_SECRET = "synapse-mail"
"""The Secret with its section on mail."""
TURN = "turn"
"""The Secret that Synapse shares with the TURN server."""
STARTED = Probe.http("/health", "health", period_seconds=2, failures=300_000)
"""A process that waits for its database, or for main, is neither ready nor killed for a week; one that hangs as it starts ends itself."""
MEDIA_CACHE = gib(10)
"""Disk for the cache of each media worker."""


CHANGES = {
    "signing_key": Change(
        "What it signed must stay verifiable: its public half goes into `old_signing_keys`.", 'As described under "The signing key".'
    ),
    "macaroon_secret_key": Change(
        "Guests are logged out; single sign-on that is under way and unsubscribe links in e-mails fail. Other sessions stay.",
        "Restart Synapse.",
    ),
    "form_secret": Change("Consent links that were sent before fail.", "Restart Synapse."),
    "worker_replication_secret": Change(
        "Processes with the old and with the new one refuse each other's requests.", "Stop all of Synapse, then start it: users notice."
    ),
    "registration_shared_secret": Change("Scripts that register users need the new one.", "Restart the StatefulSet `synapse`."),
}
"""Of the keys of its Secret."""
NEW_EXTRA = Change("It is configuration.", "Restart Synapse.")
NEW_CLIENT_SECRET = Change("Nobody logs in by the provider until both sides have the new one.", "Restart Synapse.")
NEW_LDAP_PASSWORD = Change("Nobody logs in by the directory until both sides have the new one.", "Restart Synapse.")
NEW_MAIL_PASSWORD = Change(
    "No mail is sent until the programs have the one that the mail server knows.",
    "Restart the StatefulSets `synapse` and `pusher`, and `matrix-authentication-service` where there is one.",
)


@frozen
class Authentication:
    """The Matrix Authentication Service as Synapse calls it: `secret` is the Secret, and `key` its key, that both of them know."""

    secret: str
    key: str


@frozen
class Scanning:
    """How media workers have files scanned: their module, the Secrets with its tokens, and whom it calls."""

    module: Module
    token: str
    administrator: str | None
    peers: tuple[Endpoint, ...]


@frozen
class SynapseSpec:
    """One homeserver. `workers`: how many of each type; `proxy`: where its host is answered, and what the host is called.

    `authentication`, `turn_secret`: what it shares with the Matrix Authentication Service and with the TURN server, where `homeserver` names
    these.
    """

    homeserver: HomeserverSpec
    workers: Fleet
    host: Host
    proxy: Endpoint
    redis_secret: str
    authentication: Authentication | None = None
    turn_secret: KeyRef | None = None
    push: PushOptions = field(factory=PushOptions)
    """Whose push gateways its pushers may call."""
    scanning: Scanning | None = None
    """None: no file is scanned."""
    prometheus: str | None = None
    """The URL of who measures how busy workers are, where that says how many there are."""


class Synapse(Component):
    """The homeserver. A worker's configuration, workload and place in the shard map all come from its record in `workers.py`."""

    directory = "01-synapse"
    noticed = "what a process does waits for the seconds that its pod is away; nobody is logged out, nothing that was accepted is lost"
    stopped_by = Stop("synapse-shards", "all of Synapse stops and starts with another list of writers: sending pauses for some ten seconds")
    new_release = NewRelease("each process waits in its pod until main has brought the tables to its version: sending pauses for seconds")
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: SynapseSpec) -> None:
        super().__init__(installation, "synapse", place)
        self._spec = spec
        self.topology = spec.workers.topology
        self.secret(homeserver_secret(self.name, self.namespace, (*SHARED_SECRETS, *MAIN_SECRETS)), CHANGES)
        if spec.turn_secret:
            self.secret(SecretSpec(TURN, self.namespace, {"shared_secret": Shared(spec.turn_secret)}))
        if spec.homeserver.options.extra_secret:
            given = Given("Further options of Synapse, whose sections replace all others: a YAML file")
            self.secret(SecretSpec(EXTRA, self.namespace, {"extra.yaml": given}), {"extra.yaml": NEW_EXTRA})
        self._homeserver = self.config(
            f"{self.name}-homeserver",
            {"homeserver.yaml": yaml_text(homeserver_config(spec.homeserver)), "log.yaml": yaml_text(log_config())},
            stored={"log.yaml": "log-config.yaml"},
        )
        self._shards = self.config(f"{self.name}-shards", {"shards.yaml": yaml_text(shard_config(self.topology, self.address))})
        program = program_files(process.START_PROGRAM)
        self._start = self.config(f"{self.name}-start", program, stored={name: f"start/{name}" for name in program})
        main = self._main()
        for worker in self.topology.types:
            self._worker(worker)
        # Names resolve before a pod is ready: the proxy and the other processes find out by themselves who answers.
        service = self.service(
            "services.yaml", self.name, main, {"http": CLIENT_PORT}, headless=True, publish_not_ready=True, pods=self.pods
        )
        self.http = service.endpoint("http")
        replication = Endpoint(self.pods, service.host, REPLICATION_PORT, REPLICATION)
        self.health = Endpoint(self.pods, service.host, HEALTH_PORT, HEALTH)
        self.connect(self.pods, replication, spec.homeserver.redis, spec.homeserver.database.endpoint)
        self.connect(self.pods_of("media-repository"), spec.homeserver.bucket.peer)
        if spec.scanning:
            self.connect(self.pods_of("media-repository"), *spec.scanning.peers)
        if spec.homeserver.authentication:
            self.connect(self.pods, spec.homeserver.authentication)
        else:
            self._ask_who_people_are(spec.homeserver.login)
        self._call_application_services(spec.homeserver)
        if spec.homeserver.mail:
            self._send_mail(spec.homeserver.mail, spec.homeserver.client)
        if spec.push.gateways is not Gateways.NONE:
            networks = spec.push.gateway_networks
            self.connect(self.pods_of("pusher"), External(PUSH_GATEWAYS, (443,), networks, public=not networks))
        if spec.homeserver.options.url_previews:
            self.connect(self.pods_of("media-repository"), External(WEB_PAGES, (80, 443), public=True))
        if spec.homeserver.federation:
            self.connect(self.pods_of("federation-sender"), *_other_servers(spec.homeserver.federation))
        if spec.homeserver.deposit:
            self.connect(main.pods, spec.homeserver.deposit.intake)
        self.offers_metrics(self.pods_of("main"), METRICS, _METRICS_PATH, series=SERIES)
        for worker in self.topology.types:
            self.offers_metrics(self.pods_of(worker.name), METRICS, _METRICS_PATH, series=SERIES, job=worker.name)
        self.alerts(*ALERTS)
        self.expose("matrix", spec.host, spec.proxy, ("/_matrix", "/_synapse/client"))

    def _call_application_services(self, homeserver: HomeserverSpec) -> None:
        """Their registrations, and the ways to them."""
        for name, of in homeserver.application_services:
            self.secret(*application_services.registration_secret(name, of, homeserver.server_name, self.namespace))
            self._open(CALLING_APPLICATION_SERVICES, application_services.way(name, of))

    def _ask_who_people_are(self, login: LoginOptions) -> None:
        """The Secrets by which identity providers and the directory know the homeserver, and the ways to them."""
        for name, of in login.providers:
            given = Given(f"Client secret of {of.client_id} at {of.issuer}", Form.LINE)
            self.secret(SecretSpec(secret_name(name), self.namespace, {CLIENT_SECRET: given}), {CLIENT_SECRET: NEW_CLIENT_SECRET})
        if login.ldap and login.ldap.bind_dn:
            given = Given(f"Password of {login.ldap.bind_dn}", Form.LINE)
            self.secret(SecretSpec(secret_name("ldap"), self.namespace, {LDAP_PASSWORD: given}), {LDAP_PASSWORD: NEW_LDAP_PASSWORD})
        self._open(AUTHENTICATING, *provider_ways(login), *ldap_ways(login))

    def _open(self, callers: frozenset[str], *ways: Endpoint | External) -> None:
        """Let those of these processes out that there are."""
        for name in (MAIN, *(worker.name for worker in self.topology.types)):
            if name in callers:
                self.connect(self.pods_of(name), *ways)

    def _send_mail(self, mail: MailOptions, client: str) -> None:
        self.connect(self.pods_of("main"), way_out(mail))
        if mail.notifications:
            self.connect(self.pods_of("pusher"), way_out(mail))
        if mail.user:
            self.secret(password_secret(self.namespace), {PASSWORD: NEW_MAIL_PASSWORD})
            section = {**synapse_section(mail, client), "smtp_user": mail.user}
            self.secret(file_secret(MAIL_SECRET, self.namespace, section, "smtp_pass"))

    @property
    def domain(self) -> str:
        """The domain of its pods: complete, with the final dot."""
        return f"{self.installation.facts.service_host(self.name, self.namespace)}."

    def address(self, instance: str) -> str:
        """The host name of a process: `main`, or the name of a worker instance."""
        pod = f"{self.name}-0" if instance == MAIN else instance
        return self.installation.facts.service_host(f"{pod}.{self.name}", self.namespace)

    def _main(self) -> Workload:
        files = self.config(
            f"{self.name}-main", {"kind.yaml": yaml_text(main_config(self._spec.homeserver))}, stored={"kind.yaml": "main.yaml"}
        )
        container = self._container(self._spec.homeserver.size.main, files, (CLIENT, REPLICATION, HEALTH, METRICS, ALIVE))
        pod = PodSpec(containers=(container,), grace_seconds=60)
        return self.stateful_set("main-deployment.yaml", self.name, pod, part="main", replicas=1, governing_service=self.name)

    def _worker(self, worker: WorkerType) -> None:
        spec, name = self._spec, worker.name
        config = worker_config(worker, spec.homeserver)
        files = self.config(f"{self.name}-{name}", {"kind.yaml": yaml_text(config)}, stored={"kind.yaml": f"workers/{name}.yaml"})
        listening = {listener["port"] for listener in config["worker_listeners"]}
        ports = (*(port for port in (REPLICATION, CLIENT, HEALTH, METRICS) if port.number in listening), ALIVE)
        container = self._container(spec.homeserver.size.of(worker.load), files, ports, worker=worker)
        count, ceiling = spec.workers.counts[name], spec.workers.ceilings.get(name)
        self.stateful_set(
            f"workers/{name}.yaml",
            name,
            PodSpec(containers=(container,), init=self._beside(worker), grace_seconds=worker.termination_grace_seconds),
            part=name,
            replicas=None if ceiling else count,
            autoscaled=Autoscaled(count, ceiling, self._measure(name)) if ceiling else None,
            governing_service=self.name,
        )

    def _measure(self, worker: str) -> Measure | None:
        """How much of the time the processes of a type are busy, all together: each is a single thread, and answers late when it always is."""
        if not self._spec.prometheus:
            return None
        series = f'python_twisted_reactor_tick_time_sum{{namespace="{self.namespace}",job="{worker}"}}'
        return Measure(self._spec.prometheus, f"sum(rate({series}[2m]))")

    def _mail(self, worker: WorkerType | None) -> MailOptions | None:
        """The mail server, for a process that sends mail: main what people ask for, the pushers what they are told of."""
        mail = self._spec.homeserver.mail
        return mail if mail and (worker is None or (Duty.PUSH in worker.duties and mail.notifications)) else None

    def _authorities(self, worker: WorkerType | None) -> tuple[str, ...]:
        """Secrets with authorities of those whom a process calls."""
        mail, pushes = self._mail(worker), worker is not None and Duty.PUSH in worker.duties
        asks = not self._spec.authentication and (worker.name if worker else MAIN) in AUTHENTICATING
        found = (
            mail.ca_secret if mail else None,
            self._spec.push.gateway_ca_secret if pushes else None,
            self._spec.homeserver.login.ca_secret if asks else None,
        )
        return tuple(dict.fromkeys(name for name in found if name))

    def _beside(self, worker: WorkerType) -> tuple[Container, ...]:
        """What runs beside the workers of a type."""
        if Listener.MEDIA not in worker.listeners:
            return ()
        # A tenth is left for what arrives between two looks.
        start = process.keep_cache_small(Bytes(MEDIA_CACHE.count * 9 // 10))
        return (
            Container(
                name="media-cache",
                image=image("synapse", self._spec.homeserver.options.image),
                command=start.command,
                args=start.args,
                mounts=(Mount(self._media_cache, process.MEDIA_CACHE),),
                resources=Resources(millicores(10), mib(16), mib(128)),
                readiness=Probe.command(*process.CACHE_KEEPER_LIVES, period_seconds=60),
                liveness=Probe.command(*process.CACHE_KEEPER_LIVES, period_seconds=60),
                sidecar=True,
            ),
        )

    @property
    def _media_cache(self) -> Scratch:
        return Scratch("media", MEDIA_CACHE)

    def _container(
        self,
        size: Resources,
        files: ConfigMap,
        ports: tuple[Port, ...],
        *,
        worker: WorkerType | None = None,
    ) -> Container:
        """A Synapse process: a worker, or main."""
        spec, media = self._spec, worker is not None and Listener.MEDIA in worker.listeners
        options, name = spec.homeserver.options, worker.name if worker else MAIN
        listed = worker is not None and bool(worker.writes or worker.duties)
        mail, authorities = self._mail(worker), self._authorities(worker)
        start = process.start(
            worker=worker is not None,
            listed=listed,
            mail=bool(mail and mail.user),
            authorities=bool(authorities),
            extra=options.extra_secret,
        )
        database = spec.homeserver.database
        secrets = SHARED_SECRETS if worker else (*SHARED_SECRETS, *MAIN_SECRETS)
        mounts = [
            Mount(self._start, f"{ROOT}/services/{process.START_PROGRAM}"),
            Mount(self._homeserver, process.HOMESERVER_FOLDER),
            *([] if worker else [Mount(self._shards, process.SHARDS_FOLDER)]),
            Mount(files, process.KIND_FOLDER),
            Mount(SecretFiles(self.name, items=tuple((key, key) for key in secrets)), process.SECRETS_FOLDER),
            Mount(SecretFiles(spec.redis_secret, items=(("password", "password"),)), "/secrets/redis"),
            Mount(SecretFiles(database.password_secret, items=(("pgpass", "pgpass"),)), "/secrets/database"),
            Mount(SecretFiles(database.authority_secret, items=(("ca.crt", "ca.crt"),)), "/secrets/database-ca"),
            Mount(Scratch("run", mib(1), in_memory=True), process.RUN_FOLDER),
            Mount(Scratch("tmp", gib(1)), "/tmp"),
        ]
        if worker is None and (deposit := spec.homeserver.deposit):
            given = ((deposit.token, process.DEPOSIT_TOKEN), (deposit.fingerprint_key, process.FINGERPRINT_KEY))
            for ref, path in (*given, (deposit.authority, process.AUTHORITY_KEYS)):
                folder, _, file = path.rpartition("/")
                mounts.append(Mount(SecretFiles(ref.secret, items=((ref.key, file),)), folder))
        if options.extra_secret:
            mounts.append(Mount(SecretFiles(EXTRA, items=(("extra.yaml", "extra.yaml"),)), process.EXTRA.rpartition("/")[0]))
        for module, of in options.modules:
            if of.secret and (not of.processes or name in of.processes):
                mounts.append(Mount(SecretFiles(f"{MODULE}-{module}"), f"{process.MODULES_FOLDER}/{module}"))
        for service, _ in spec.homeserver.application_services:
            secret, file = application_services.secret_name(service), application_services.REGISTRATION
            mounts.append(Mount(SecretFiles(secret, items=((file, file),)), f"{process.APPLICATION_SERVICES_FOLDER}/{secret}"))
        if spec.turn_secret:
            mounts.append(Mount(SecretFiles(TURN, items=(("shared_secret", "shared_secret"),)), "/secrets/turn"))
        if spec.authentication:
            shared = SecretFiles(spec.authentication.secret, items=((spec.authentication.key, "secret"),))
            mounts.append(Mount(shared, process.AUTHENTICATION_FOLDER))
        if worker and calls_other_servers(worker) and spec.homeserver.federation and spec.homeserver.federation.ca_secret:
            partners = SecretFiles(spec.homeserver.federation.ca_secret, items=(("ca.crt", "ca.crt"),))
            mounts.append(Mount(partners, process.FEDERATION_AUTHORITY.rpartition("/")[0]))
        if mail and mail.user:
            mounts.append(Mount(SecretFiles(MAIL_SECRET, items=((MAIL_FILE, MAIL_FILE),)), process.MAIL_FOLDER))
        trusted = {name: SecretFiles(name, items=(("ca.crt", "ca.crt"),)) for name in authorities}
        mounts += [Mount(files, f"{process.AUTHORITIES_FOLDER}/{name}") for name, files in trusted.items()]
        env: dict[str, str | PodField] = {
            **process.ENVIRONMENT,
            **(process.TRUST if authorities else {}),
            "PYTHONPATH": ROOT,
            "POD_NAME": PodField("metadata.name"),
            "PGAPPNAME": PodField("metadata.name"),
        }
        if media and spec.scanning:
            mounts.append(_token(spec.scanning.token, process.SCAN_WORKER_TOKEN))
            if spec.scanning.administrator:
                mounts.append(_token(spec.scanning.administrator, process.ANTIVIRUS_ADMINISTRATOR))
        if not spec.authentication and name in AUTHENTICATING:
            mounts += _login(spec.homeserver.login)
        if media:
            mounts.append(Mount(self._media_cache, process.MEDIA_CACHE))
            further, variables = media_mounts(spec.homeserver.bucket)
            mounts += further
            env |= variables
        return Container(
            name="synapse",
            image=image("synapse", options.image),
            command=start.command,
            args=start.args,
            ports=ports,
            mounts=tuple(mounts),
            env=env,
            startup=STARTED,
            readiness=Probe.http("/health", "health", period_seconds=2, timeout_seconds=5, failures=8),
            liveness=Probe.http("/alive", "alive", period_seconds=6, timeout_seconds=12, failures=8),
            resources=size,
        )


def _login(login: LoginOptions) -> list[Mount]:
    """The secrets of a process that asks who people are."""
    keys = [(secret_name(name), CLIENT_SECRET) for name, _ in login.providers]
    if login.ldap and login.ldap.bind_dn:
        keys.append((secret_name("ldap"), LDAP_PASSWORD))
    return [Mount(SecretFiles(secret, items=((key, key),)), f"{process.LOGIN_FOLDER}/{secret}") for secret, key in keys]


def _other_servers(federation: FederationOptions) -> Iterator[External]:
    """Where other servers are. Each says itself on which port it listens, so on any."""
    if federation.internet:
        yield External(FEDERATION, (), public=True)
    if federation.networks:
        yield External(FEDERATION, (), federation.networks)


def _token(secret: str, path: str) -> Mount:
    return Mount(SecretFiles(secret, items=(("token", "token"),)), path.rpartition("/")[0])


def media_mounts(bucket: Bucket) -> tuple[list[Mount], dict[str, str | PodField]]:
    """What a process needs that keeps media in a bucket: the files with its keys, and the variables that name them."""
    keys, authority = bucket.credentials, bucket.authority
    mounts = [Mount(SecretFiles(keys.secret, items=((keys.shared_file, "credentials"),)), "/secrets/media")]
    environment: dict[str, str | PodField] = {"AWS_SHARED_CREDENTIALS_FILE": process.MEDIA_CREDENTIALS}
    if authority:
        mounts.append(Mount(SecretFiles(authority.secret, items=((authority.key, "ca.crt"),)), "/secrets/media-ca"))
        environment["AWS_CA_BUNDLE"] = "/secrets/media-ca/ca.crt"
    return mounts, environment


def homeserver_secret(name: str, namespace: str, names: tuple[str, ...]) -> SecretSpec:
    """Secrets of a homeserver. They must not change: sessions and signatures hang on them."""
    return SecretSpec(name, namespace, {key: SynapseSigningKey() if key == "signing_key" else RandomText(64) for key in names})
