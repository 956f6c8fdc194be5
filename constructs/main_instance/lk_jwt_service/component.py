"""The MatrixRTC authorisation service (lk-jwt-service): gives a LiveKit token to whoever proves to be a Matrix user."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Host, Pods, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles, SecretKey
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Composed, Fixed, KeyRef, RandomText, Recipe, SecretSpec, Shared
from main_instance.calls.options import OWN_HOSTS

HTTP = Port("http", 8080)
API_SECRET = "livekit-api"
"""`key` and `secret` of LiveKit's API, and both as LiveKit's key file."""
API_KEY = "matrix-platform"
SECRET = "lk-jwt-service"
REPLICAS = 2
REDIS_DATABASE = 2
"""Synapse's is 0, LiveKit's 1."""
_PODS = "lk-jwt-service-pods"
_INGRESS_PORTS = (443, 8443)
"""Where ingress controllers' pods take TLS: 8443 is Traefik's and its like, which may not listen below 1024."""


NEW_API_SECRET = Change(
    "Tokens that clients hold get into no room; they ask for another at the next call.", "Restart LiveKit and lk-jwt-service together."
)


@frozen
class AuthorisationSpec:
    """The service as it is deployed.

    `homeserver`: HAProxy, for what the service does at Synapse in users' names. `redis`, `redis_password`: where it keeps that in mind.
    `ingress_namespace`: of the controller through which it reaches the hosts. `other_servers`: whether their users may take part.
    `private_authority`: whether the Secret of `host` is there, with the authority (`ca.crt`) that it must trust; None: only if it exists.
    """

    server_name: str
    host: Host
    homeserver: Endpoint
    redis: Endpoint
    redis_password: KeyRef
    ingress_namespace: str
    other_servers: bool
    private_authority: bool | None


class LkJwtService(Component):
    """Two, each with its own part of a small state: which users it will report to Synapse as gone when LiveKit says so (MSC4140).

    The state is in the memory of the process that a user has asked, and Redis gives it back after a restart. No other process reads it
    meanwhile, so LiveKit tells every process by its name what happens, and a user whom two remember is reported twice, which is no harm.
    """

    directory = "05-lk-jwt-service"
    noticed = "nothing: the other lets people into calls"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: AuthorisationSpec) -> None:
        super().__init__(installation, "lk-jwt-service", place)
        keys: dict[str, Recipe] = {"key": Fixed(API_KEY), "secret": RandomText(64), "keys.yaml": Composed("{key}: {secret}\n")}
        self.secret(SecretSpec(API_SECRET, self.namespace, keys), {"secret": NEW_API_SECRET})
        url = Composed(f"redis://:{{redis-password}}@{spec.redis.address}/{REDIS_DATABASE}")
        self.secret(SecretSpec(SECRET, self.namespace, {"redis-password": Shared(spec.redis_password), "redis-url": url}))
        if spec.private_authority:
            self.serves_tls(spec.host)
        pod = PodSpec(containers=(self._container(spec),))
        # Pods with names: LiveKit must reach each of them.
        services = self.stateful_set(
            "deployment.yaml",
            self.name,
            pod,
            part=self.name,
            replicas=REPLICAS,
            governing_service=_PODS,
            tuning=self.tuned("config.yaml", "replicas"),
        )
        by_name = self.service("service.yaml", _PODS, services, {"http": HTTP.number}, headless=True, publish_not_ready=True)
        self.http = self.service("service.yaml", self.name, services, {"http": HTTP.number}).endpoint("http")
        names = [installation.facts.service_host(f"{self.name}-{ordinal}.{_PODS}", self.namespace) for ordinal in range(REPLICAS)]
        self.webhooks = tuple(f"http://{name}:{HTTP.number}/sfu_webhook" for name in names)
        self.webhook = by_name.endpoint("http")
        paths = ("/sfu/get", "/get_token", "/delegate_delayed_leave")
        self.expose("lk-jwt-service", spec.host, self.http, paths)
        self.connect(self.pods, spec.homeserver, spec.redis, *self._hosts(spec))

    def _container(self, spec: AuthorisationSpec) -> Container:
        mounts = [Mount(SecretFiles(API_SECRET, items=(("key", "key"), ("secret", "secret"))), "/secrets/livekit")]
        env: dict[str, str | SecretKey] = {
            "LIVEKIT_URL": f"wss://{spec.host.name}",
            "LIVEKIT_KEY_FROM_FILE": "/secrets/livekit/key",
            "LIVEKIT_SECRET_FROM_FILE": "/secrets/livekit/secret",
            "LIVEKIT_JWT_BIND": f":{HTTP.number}",
            # Only people of this homeserver may have a room made; others may join those that are there.
            "LIVEKIT_FULL_ACCESS_HOMESERVERS": spec.server_name,
            "LIVEKIT_CS_API_URL_OVERRIDES": f"{spec.server_name}=http://{spec.homeserver.address}",
            # It asks LiveKit once a minute for those of whom it has heard nothing, in case a message was lost.
            "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS": "60",
            "LIVEKIT_REDIS_URL": SecretKey(SECRET, "redis-url"),
        }
        if spec.private_authority is not False:
            authority = SecretFiles(spec.host.tls_secret, items=(("ca.crt", "ca.crt"),), optional=spec.private_authority is None)
            mounts.append(Mount(authority, "/secrets/authority"))
            # The image's public authorities stay trusted beside it (Go, crypto/x509/root_unix.go).
            env |= {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "SSL_CERT_DIR": "/secrets/authority"}
        return Container(
            name="lk-jwt-service",
            image=image("lk-jwt-service"),
            ports=(HTTP,),
            mounts=tuple(mounts),
            env=env,
            readiness=Probe.http("/healthz", "http"),
            liveness=Probe.http("/healthz", "http", failures=6),
            resources=Resources(millicores(20), mib(24), mib(128)),
        )

    def _hosts(self, spec: AuthorisationSpec) -> tuple[Endpoint | External, ...]:
        """The hosts as everybody sees them: who a user is, it asks at the server name's own address by federation, and LiveKit at its host.

        Within the cluster such traffic may reach the ingress controller's pods directly, or leave and come back.
        """
        controller = Pods("ingress", spec.ingress_namespace, ())
        inside = tuple(Endpoint(controller, "", number, Port("https", number)) for number in _INGRESS_PORTS)
        ports = (443, 8448) if spec.other_servers else (443,)
        return *inside, External(OWN_HOSTS, ports)
