"""Alertmanager: it tells people of alerts, once, and those that matter."""

from attrs import frozen

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.monitoring import Alert
from kit.network import Endpoint, External, Port
from kit.place import Place
from kit.pods import Claim, Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Resources, gib, mib, millicores
from kit.secrets import Change, Form, Given, SecretSpec
from kit.text import yaml_text
from monitoring.alertmanager.configuration import (
    AUTHORITIES,
    AUTHORITY,
    SECRET,
    SECRETS,
    AlertmanagerSpec,
    address,
    authorities,
    configuration,
    secret_keys,
)
from monitoring.options import ALERT_MAIL, ALERT_WATCHDOG, ALERT_WEBHOOK, AlertOptions

HTTP = Port("http", 9093)
GOSSIP = Port("gossip", 9094)
GOSSIP_UDP = Port("gossip-udp", 9094, "UDP")
_FILES = "/etc/alertmanager"
_DATA = "/alertmanager"
_HTTPS = 443
NEW_VALUE = Change("Nobody is told by this way until Alertmanager has the new one.", "Nothing: it reads the file for each message.")


@frozen
class Alerting:
    """`told`: who hears of `alerts`. `replicas`: how many Alertmanagers there are; all of them are told, and agree on who tells people."""

    told: AlertOptions
    alerts: tuple[Alert, ...]
    replicas: int


class Alertmanager(Component):
    """One or more that know of each other: silences and what people have been told are in all of them."""

    directory = "04-alertmanager"
    noticed = "nothing; where there is one, alerts wait until it is back"
    config_directory = "monitoring"

    def __init__(self, installation: Installation, place: Place, alerting: Alerting) -> None:
        super().__init__(installation, "alertmanager", place)
        told = alerting.told
        keys = secret_keys(told)
        if keys:
            given = {key: Given(description, Form.LINE) for key, description in keys.items()}
            self.secret(SecretSpec(SECRET, self.namespace, given), dict.fromkeys(keys, NEW_VALUE))
        files = self.config(self.name, {"alertmanager.yaml": yaml_text(configuration(AlertmanagerSpec(told, alerting.alerts)))})
        pods = f"{self.name}-pods"
        self.hosts = tuple(
            installation.facts.service_host(f"{self.name}-{ordinal}.{pods}", self.namespace) for ordinal in range(alerting.replicas)
        )
        together = alerting.replicas > 1
        data = Claim("data", gib(1), installation.facts.storage_classes.default)
        container = Container(
            name="alertmanager",
            image=image("alertmanager"),
            args=(
                f"--config.file={_FILES}/alertmanager.yaml",
                f"--storage.path={_DATA}",
                f"--web.listen-address=:{HTTP.number}",
                f"--cluster.listen-address={f'0.0.0.0:{GOSSIP.number}' if together else ''}",
                *(f"--cluster.peer={host}:{GOSSIP.number}" for host in self.hosts if together),
            ),
            ports=(HTTP, GOSSIP, GOSSIP_UDP) if together else (HTTP,),
            mounts=(
                Mount(files, _FILES),
                Mount(data, _DATA),
                *((Mount(SecretFiles(SECRET, items=tuple((key, key) for key in keys)), SECRETS),) if keys else ()),
                *(Mount(SecretFiles(name, items=((AUTHORITY, AUTHORITY),)), f"{AUTHORITIES}/{name}") for name in authorities(told)),
            ),
            readiness=Probe.http("/-/ready", "http", period_seconds=5),
            liveness=Probe.http("/-/healthy", "http"),
            resources=Resources(millicores(10), mib(32), mib(128)),
        )
        pod = PodSpec(containers=(container,))
        managers = self.stateful_set(
            "deployment.yaml", self.name, pod, part=self.name, replicas=alerting.replicas, governing_service=pods, claims=(data,)
        )
        ports = {port.name: port.number for port in container.ports}
        self.service("service.yaml", pods, managers, ports, headless=True, publish_not_ready=True)
        self.http = self.service("service.yaml", self.name, managers, {"http": HTTP.number}).endpoint("http")
        if together:
            self.connect(self.pods, *(Endpoint(self.pods, "", port.number, port) for port in (GOSSIP, GOSSIP_UDP)))
        for name, server, usual, cidrs in _outside(told):
            self.connect(self.pods, External(name, (address(server, usual)[1],), cidrs))
        self.offers_metrics(self.pods, HTTP, series=1_000)
        self.keeps("silences, and what people have been told", f"StatefulSet {self.name}", "Not needed: people are told once more.")


def _outside(told: AlertOptions) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """Whom it calls: name, server, the usual port, and addresses."""
    mail = [(ALERT_MAIL, told.mail.server, 587, told.mail.cidrs)] if told.mail else []
    hooks = [
        (name, hook.server, _HTTPS, hook.cidrs) for name, hook in ((ALERT_WEBHOOK, told.webhook), (ALERT_WATCHDOG, told.watchdog)) if hook
    ]
    return [*mail, *hooks]
