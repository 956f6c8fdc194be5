"""The Matrix Authentication Service: it has people's passwords and sessions in place of Synapse, and speaks OAuth 2.0 with clients."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Host, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Resources, gib, mib, millicores
from kit.secrets import HEX, Change, Form, Given, RandomText, Recipe, RsaPrivateKey, SecretSpec
from kit.text import yaml_text
from main_instance.authentication_service.configuration import (
    ADMINISTRATION_PORT,
    DATABASE_AUTHORITY,
    DATABASE_PASSWORD,
    ENCRYPTION_KEY,
    INTERNAL_PORT,
    LOGIN_FOLDER,
    PUBLIC_PORT,
    SECRETS_FOLDER,
    SHARED_SECRET,
    SIGNING_KEY,
    ServiceSpec,
    service_config,
)
from main_instance.authentication_service.options import AuthenticationServiceOptions
from main_instance.haproxy.component import Administration
from main_instance.login.configuration import AUTHORITY, CLIENT_SECRET, provider_ways, secret_name
from main_instance.login.options import ProviderOptions
from main_instance.mail.configuration import FILE as MAIL_FILE
from main_instance.mail.configuration import file_secret, way_out
from main_instance.synapse.worker_type import Route

NAME = "matrix-authentication-service"
PUBLIC = Port("http", PUBLIC_PORT)
INTERNAL = Port("internal", INTERNAL_PORT)
ADMINISTRATION = Port("administration", ADMINISTRATION_PORT)

CONFIGURATION = "/etc/matrix-authentication-service/config.yaml"
EXTRA_FOLDER = "/secrets/extra-configuration"
MAIL_FOLDER, AUTHORITIES_FOLDER = "/secrets/mail", "/secrets/authorities"
MAIL_SECRET = f"{NAME}-mail"
"""The Secret with the password of the mail server, as a part of the configuration."""
_RESOURCES = Resources(millicores(100), mib(128), gib(1))
"""A password that is being checked takes 19 MiB (argon2id)."""

# https://element-hq.github.io/matrix-authentication-service/setup/reverse-proxy.html#compatibility-layer: what clients ask that do not
# speak OAuth 2.0. Any version is one path segment (crates/router/src/endpoints.rs).
LOGIN_ROUTES = (Route("^/_matrix/client/[^/]+/(?:login|logout|refresh)(?:/|$)"),)
"""What it serves on Synapse's host."""


CHANGES = {
    ENCRYPTION_KEY: Change(
        "Never: what it has encrypted in the database is lost with it.", "Only after a leak, with everybody logged in anew."
    ),
    SIGNING_KEY: Change("Tokens that it signed are refused from then on. Sessions stay.", "Restart `matrix-authentication-service`."),
    SHARED_SECRET: Change(
        "Synapse and the service refuse each other until both have the new one: nobody can log in, sessions that are not cached fail.",
        "Restart `matrix-authentication-service` and Synapse together: users notice.",
    ),
}
"""Of the keys of its Secret."""
NEW_CLIENT_SECRET = Change("Nobody logs in by the provider until both sides have the new one.", "Restart `matrix-authentication-service`.")
NEW_EXTRA = Change("It is configuration.", "Restart `matrix-authentication-service`.")


@frozen
class AuthenticationSpec:
    """The service as it is deployed. `homeserver`: where it calls Synapse. There are as many replicas as proxies in front of Synapse.

    `administration`: where administrators find its API, and from where they may come.
    """

    configuration: ServiceSpec
    options: AuthenticationServiceOptions
    host: Host
    homeserver: Endpoint
    replicas: int
    administration: Administration | None = None


class AuthenticationService(Component):
    """Equal replicas without state of their own: all of it is in their database, beside Synapse's.

    Whichever starts first with a new version migrates the database, behind a lock; the others wait for it.
    """

    directory = f"09-{NAME}"
    noticed = "nothing: a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: AuthenticationSpec) -> None:
        super().__init__(installation, NAME, place)
        self.secret_name = self.secret(_secret(self.namespace), CHANGES).name
        files = self.config(f"{self.name}-config", {"config.yaml": yaml_text(service_config(spec.configuration))})
        database, administration = spec.configuration.database, (ADMINISTRATION,) if spec.administration else ()
        mounts = [
            Mount(files, CONFIGURATION.rpartition("/")[0]),
            Mount(SecretFiles(self.secret_name, tuple((key, key) for key in (ENCRYPTION_KEY, SIGNING_KEY, SHARED_SECRET))), SECRETS_FOLDER),
            _file(database.password_secret, "password", DATABASE_PASSWORD),
            _file(database.authority_secret, "ca.crt", DATABASE_AUTHORITY),
        ]
        # A later file wins, and lists are joined (crates/cli/src/commands/mod.rs, figment).
        paths = [CONFIGURATION]
        if spec.options.extra_secret:
            extra = self.secret(_extra(self.namespace), {"config.yaml": NEW_EXTRA}).name
            mounts.append(_file(extra, "config.yaml", f"{EXTRA_FOLDER}/config.yaml"))
            paths.append(f"{EXTRA_FOLDER}/config.yaml")
        login = spec.configuration.login
        mounts += [
            _file(self._client_secret(name, of), CLIENT_SECRET, f"{LOGIN_FOLDER}/{secret_name(name)}/{CLIENT_SECRET}")
            for name, of in login.providers
        ]
        # For every command, so also for one that a person runs in the pod.
        env, mail = {"MAS_CONFIG": ":".join(paths)}, spec.configuration.mail
        if mail:
            self.connect(self.pods, way_out(mail))
        if mail and mail.user:
            password = self.secret(file_secret(MAIL_SECRET, self.namespace, {}, "password")).name
            mounts.append(_file(password, MAIL_FILE, f"{MAIL_FOLDER}/{MAIL_FILE}"))
            env["MAS_CONFIG"] += f":{MAIL_FOLDER}/{MAIL_FILE}"
        if authorities := dict.fromkeys(name for name in (login.ca_secret, mail.ca_secret if mail else None) if name):
            mounts += [_file(name, AUTHORITY, f"{AUTHORITIES_FOLDER}/{name}/{AUTHORITY}") for name in authorities]
            # All are read (rustls-native-certs 0.8): the image's public authorities, and the private ones.
            folders = ":".join(f"{AUTHORITIES_FOLDER}/{name}" for name in authorities)
            env |= {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "SSL_CERT_DIR": folders}
        container = Container(
            name=NAME,
            image=image(NAME),
            args=("server",),
            ports=(PUBLIC, INTERNAL, *administration),
            mounts=tuple(mounts),
            env=env,
            # It listens when the database is migrated.
            startup=Probe.tcp("internal", period_seconds=2, failures=150),
            readiness=Probe.http("/health", "internal", period_seconds=5, timeout_seconds=5),
            # Not /health, which fails with the database: no restart mends that.
            liveness=Probe.tcp("internal"),
            linger_seconds=5,
            resources=_RESOURCES,
        )
        # After the signal it finishes its requests for up to a minute (crates/cli/src/lifecycle.rs).
        pod = PodSpec(containers=(container,), grace_seconds=75)
        service = self.deployment("deployment.yaml", self.name, pod, part=self.name, replicas=spec.replicas)
        ports = {port.name: port.number for port in (PUBLIC, INTERNAL, *administration)}
        listening = self.service("service.yaml", self.name, service, ports)
        self.http, self.health = listening.endpoint("http"), listening.endpoint("internal")
        self.connect(self.pods, database.endpoint, spec.homeserver, *provider_ways(login))
        self.offers_metrics(self.pods, INTERNAL, series=1_000)
        self.expose(NAME, spec.host, self.http)
        if spec.administration:
            host, sources = spec.administration.host, spec.administration.allowed_sources
            self.expose(f"{NAME}-admin", host, listening.endpoint(ADMINISTRATION.name), ("/api/admin",), sources)
            # Ketesa asks where the tokens come from (docs/external-auth-provider.md there).
            self.expose(f"{NAME}-admin-page", spec.host, listening.endpoint(ADMINISTRATION.name), ("/api/admin",), sources)

    def _client_secret(self, name: str, of: ProviderOptions) -> str:
        """The Secret by which an identity provider knows the service."""
        given = Given(f"Client secret of {of.client_id} at {of.issuer}", Form.LINE)
        return self.secret(SecretSpec(secret_name(name), self.namespace, {CLIENT_SECRET: given}), {CLIENT_SECRET: NEW_CLIENT_SECRET}).name


def _secret(namespace: str) -> SecretSpec:
    """The encryption key must never change: what it has encrypted in the database would be lost. It is read with no line end cut off."""
    keys: dict[str, Recipe] = {ENCRYPTION_KEY: RandomText(64, HEX), SIGNING_KEY: RsaPrivateKey(), SHARED_SECRET: RandomText(64)}
    return SecretSpec(NAME, namespace, keys)


def _extra(namespace: str) -> SecretSpec:
    wanted = Given("Further configuration of the Matrix Authentication Service: a YAML file")
    return SecretSpec(f"{NAME}-extra", namespace, {"config.yaml": wanted})


def _file(secret: str, key: str, path: str) -> Mount:
    folder, _, name = path.rpartition("/")
    return Mount(SecretFiles(secret, ((key, name),)), folder)
