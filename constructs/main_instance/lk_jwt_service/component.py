"""The MatrixRTC authorisation service (lk-jwt-service): gives a LiveKit token to whoever proves to be a Matrix user."""

from attrs import frozen

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Exposure, External, Host, Pods, Port
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles, SecretKey
from kit.quantities import Resources, mib, millicores
from kit.rendering import Tuning
from kit.secrets import Composed, Fixed, KeyRef, RandomText, Recipe, SecretSpec, Shared

HTTP = Port("http", 8080)
API_SECRET = "livekit-api"
"""`key` and `secret` of LiveKit's API, and both as LiveKit's key file."""
API_KEY = "matrix-platform"
SECRET = "lk-jwt-service"
_PODS = "lk-jwt-service-pods"
_INGRESS_PORTS = (443, 8443)
"""Where ingress controllers' pods take TLS: 8443 is Traefik's and its like, which may not listen below 1024."""


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
    replicas: int = 2
    redis_database: int = 2


class LkJwtService(Component):
    """Two, each with its own part of a small state: which users it will report to Synapse as gone when LiveKit says so (MSC4140).

    The state is in the memory of the process that a user has asked, and Redis gives it back after a restart. No other process reads it
    meanwhile, so LiveKit tells every process by its name what happens, and a user whom two remember is reported twice, which is no harm.
    """

    folder = "main-instance/05-lk-jwt-service"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, namespace: str, spec: AuthorisationSpec) -> None:
        super().__init__(installation, "lk-jwt-service", namespace)
        keys: dict[str, Recipe] = {"key": Fixed(API_KEY), "secret": RandomText(64), "keys.yaml": Composed("{key}: {secret}\n")}
        self.secret(SecretSpec(API_SECRET, namespace, keys))
        url = Composed(f"redis://:{{redis-password}}@{spec.redis.address}/{spec.redis_database}")
        self.secret(SecretSpec(SECRET, namespace, {"redis-password": Shared(spec.redis_password), "redis-url": url}))
        if spec.private_authority:
            self.serves_tls(spec.host)
        pod = PodSpec(containers=(self._container(spec),))
        # Pods with names: LiveKit must reach each of them.
        services = self.stateful_set(
            "deployment.yaml",
            "lk-jwt-service",
            pod,
            part="lk-jwt-service",
            replicas=spec.replicas,
            governing_service=_PODS,
            tuning=Tuning("config/lk-jwt-service/config.yaml", ("replicas",)),
        )
        by_name = self.service("service.yaml", _PODS, services, {"http": HTTP.number}, headless=True, publish_not_ready=True)
        self.http = self.service("service.yaml", "lk-jwt-service", services, {"http": HTTP.number}).endpoint("http")
        names = [installation.facts.service_host(f"lk-jwt-service-{ordinal}.{_PODS}", namespace) for ordinal in range(spec.replicas)]
        self.webhooks = tuple(f"http://{name}:{HTTP.number}/sfu_webhook" for name in names)
        self.webhook = by_name.endpoint("http")
        paths = ("/sfu/get", "/get_token", "/delegate_delayed_leave")
        self.expose(Exposure("lk-jwt-service", spec.host, self.http, f"{self.folder}/ingress.yaml", paths))
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
            readiness=Probe(http=("/healthz", "http")),
            liveness=Probe(http=("/healthz", "http"), failures=6),
            resources=Resources(millicores(20), mib(24), mib(128)),
        )

    def _hosts(self, spec: AuthorisationSpec) -> tuple[Endpoint | External, ...]:
        """The hosts as everybody sees them: who a user is, it asks at the server name's own address by federation, and LiveKit at its host.

        Within the cluster such traffic may reach the ingress controller's pods directly, or leave and come back.
        """
        controller = Pods("ingress", spec.ingress_namespace, ())
        inside = tuple(Endpoint(controller, "", number, Port("https", number)) for number in _INGRESS_PORTS)
        ports = (443, 8448) if spec.other_servers else (443,)
        return *inside, External("hosts", ports)
