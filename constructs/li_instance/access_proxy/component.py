"""The one way in to the lawful-intercept instance: a proxy that lets through what an open case covers, and nothing that changes anything."""

from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Given, SecretSpec, Shared
from li_instance.access_proxy.alerts import ALERTS
from li_instance.access_proxy.configuration import CASES, HOMESERVER, OPERATIONS, AccessProxySpec, configuration

HOMESERVER_PORT, CASES_PORT, METRICS = Port("homeserver", HOMESERVER), Port("cases", CASES), Port("metrics", OPERATIONS)
REPLICAS = 2
CLIENT_AUTHORITY = "officers-authority"
NEW_AUTHORITY = Change("Certificates of an authority that is not in it any more are refused.", "Nothing: Traefik reads it anew.")
_TOKENS = ("access_token", "proxy_token")


class AccessProxy(Component):
    """It says to the vault who asks for what, and to nobody else what the vault's tokens are."""

    directory = "05-access-proxy"
    noticed = "users nothing; a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: AccessProxySpec, vault_secret: SecretSpec) -> None:
        """`vault_secret`: the Secret of the vault that has the tokens by which it knows its callers."""
        super().__init__(installation, "li-proxy", place)
        self.secret(SecretSpec(self.name, self.namespace, {key: Shared(vault_secret.key(key)) for key in _TOKENS}))
        files = self.config(f"{self.name}-files", configuration(spec))
        container = Container(
            name="haproxy",
            image=image("haproxy"),
            command=("haproxy",),
            args=("-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"),
            ports=(HOMESERVER_PORT, CASES_PORT, METRICS),
            mounts=(
                Mount(files, "/etc/haproxy"),
                Mount(SecretFiles(self.name, items=tuple((key, key) for key in _TOKENS)), "/secrets/li-proxy"),
            ),
            startup=Probe.http("/live", "metrics", period_seconds=1, failures=30),
            readiness=Probe.http("/live", "metrics", period_seconds=5),
            liveness=Probe.http("/live", "metrics", period_seconds=5),
            linger_seconds=5,
            resources=Resources(millicores(20), mib(48), mib(128)),
        )
        proxies = self.deployment("deployment.yaml", self.name, PodSpec(containers=(container,)), part=self.name, replicas=REPLICAS)
        service = self.service("service.yaml", self.name, proxies, {"homeserver": HOMESERVER, "cases": CASES})
        self.homeserver, self.cases = service.endpoint("homeserver"), service.endpoint("cases")
        self.connect(self.pods, spec.synapse, spec.health, spec.officers, spec.access, spec.status)
        self.offers_metrics(self.pods, METRICS, series=1_000)
        self.alerts(*ALERTS)

    def client_authority(self) -> str:
        """The Secret with the authority of the officers' certificates."""
        given = Given("Certificates in PEM of the authorities that sign those of officers, whose common name is the officer's id")
        return self.secret(SecretSpec(CLIENT_AUTHORITY, self.namespace, {"ca.crt": given}), {"ca.crt": NEW_AUTHORITY}).name
