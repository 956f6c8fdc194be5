"""The Matrix Authentication Service: it has people's passwords and sessions in place of Synapse, and speaks OAuth 2.0 with clients."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Exposure, External, Host, Port
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Resources
from kit.secrets import HEX, Given, RandomText, Recipe, RsaPrivateKey, SecretSpec
from kit.text import yaml_text
from main_instance.authentication_service.configuration import (
    DATABASE_AUTHORITY,
    DATABASE_PASSWORD,
    ENCRYPTION_KEY,
    INTERNAL_PORT,
    PUBLIC_PORT,
    SECRETS_FOLDER,
    SHARED_SECRET,
    SIGNING_KEY,
    ServiceSpec,
    service_config,
)
from main_instance.synapse.worker_type import Route

NAME = "matrix-authentication-service"
PUBLIC = Port("http", PUBLIC_PORT)
INTERNAL = Port("internal", INTERNAL_PORT)

CONFIGURATION = "/etc/matrix-authentication-service/config.yaml"
ADDITIONS_FOLDER = "/secrets/additional-configuration"

# https://element-hq.github.io/matrix-authentication-service/setup/reverse-proxy.html#compatibility-layer: what clients ask that do not
# speak OAuth 2.0. Any version is one path segment (crates/router/src/endpoints.rs).
LOGIN_ROUTES = (Route("^/_matrix/client/[^/]+/(?:login|logout|refresh)(?:/|$)"),)
"""What it serves on Synapse's host."""


@frozen
class AuthenticationSpec:
    """The service as it is deployed. `homeserver`: where it calls Synapse.

    `additions`: the operator of the site gives further configuration, such as identity providers, which stand at
    `identity_provider_cidrs`, or on the internet.
    """

    configuration: ServiceSpec
    host: Host
    homeserver: Endpoint
    replicas: int
    resources: Resources
    additions: bool = False
    identity_provider_cidrs: tuple[str, ...] = ()


class AuthenticationService(Component):
    """Equal replicas without state of their own: all of it is in their database, beside Synapse's.

    Whichever starts first with a new version migrates the database, behind a lock; the others wait for it.
    """

    folder = f"main-instance/09-{NAME}"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: AuthenticationSpec) -> None:
        super().__init__(installation, NAME, namespace)
        self.secret_name = self.secret(_secret(namespace)).name
        files = self.config(f"{NAME}-config", {"config.yaml": (f"{NAME}/config.yaml", yaml_text(service_config(spec.configuration)))})
        database = spec.configuration.database
        mounts = [
            Mount(files, CONFIGURATION.rpartition("/")[0]),
            Mount(SecretFiles(self.secret_name, tuple((key, key) for key in (ENCRYPTION_KEY, SIGNING_KEY, SHARED_SECRET))), SECRETS_FOLDER),
            _file(database.password_secret, "password", DATABASE_PASSWORD),
            _file(database.authority_secret, "ca.crt", DATABASE_AUTHORITY),
        ]
        # A later file wins, and lists are joined (crates/cli/src/commands/mod.rs, figment).
        paths = [CONFIGURATION]
        if spec.additions:
            additions = self.secret(_additions(namespace)).name
            mounts.append(_file(additions, "config.yaml", f"{ADDITIONS_FOLDER}/config.yaml"))
            paths.append(f"{ADDITIONS_FOLDER}/config.yaml")
            cidrs = spec.identity_provider_cidrs
            self.connect(self.pods, External("identity-providers", (443,), cidrs, public=not cidrs))
        container = Container(
            name=NAME,
            image=image(NAME),
            args=("server",),
            ports=(PUBLIC, INTERNAL),
            mounts=tuple(mounts),
            # For every command, so also for one that a person runs in the pod.
            env={"MAS_CONFIG": ":".join(paths)},
            # It listens when the database is migrated.
            startup=Probe(tcp="internal", period_seconds=2, failures=150),
            readiness=Probe(http=("/health", "internal"), period_seconds=5, timeout_seconds=5),
            # Not /health, which fails with the database: no restart mends that.
            liveness=Probe(tcp="internal"),
            linger_seconds=5,
            resources=spec.resources,
        )
        # After the signal it finishes its requests for up to a minute (crates/cli/src/lifecycle.rs).
        pod = PodSpec(containers=(container,), grace_seconds=75)
        service = self.deployment("deployment.yaml", NAME, pod, part=NAME, replicas=spec.replicas)
        listening = self.service("service.yaml", NAME, service, {"http": PUBLIC_PORT, "internal": INTERNAL_PORT})
        self.http, self.health = listening.endpoint("http"), listening.endpoint("internal")
        self.connect(self.pods, database.endpoint, spec.homeserver)
        self.expose(Exposure(NAME, spec.host, self.http, self.path("ingress.yaml")))


def _secret(namespace: str) -> SecretSpec:
    """The encryption key must never change: what it has encrypted in the database would be lost. It is read with no line end cut off."""
    keys: dict[str, Recipe] = {ENCRYPTION_KEY: RandomText(64, HEX), SIGNING_KEY: RsaPrivateKey(), SHARED_SECRET: RandomText(64)}
    return SecretSpec(NAME, namespace, keys)


def _additions(namespace: str) -> SecretSpec:
    wanted = Given("Further configuration of the Matrix Authentication Service, e.g. its section upstream_oauth2: a YAML file")
    return SecretSpec(f"{NAME}-additions", namespace, {"config.yaml": wanted})


def _file(secret: str, key: str, path: str) -> Mount:
    folder, _, name = path.rpartition("/")
    return Mount(SecretFiles(secret, ((key, name),)), folder)
