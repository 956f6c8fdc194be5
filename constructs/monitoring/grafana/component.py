"""Grafana: people look at the platform through it."""

from functools import cache

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Host, Port
from kit.place import Place
from kit.pods import ConfigMap, Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, RandomText, SecretSpec
from kit.text import yaml_text
from monitoring.grafana.configuration import DASHBOARDS, PORT, SECRETS, dashboard_provider, datasources, grafana_ini

HTTP = Port("http", PORT)
_PROVISIONING = "/etc/grafana/provisioning"
_SETTINGS = "/etc/grafana-settings"

NEW_PASSWORD = Change("The password of `admin`, the only account.", "Restart `grafana`: it takes the password as it starts.")
NEW_SECRET_KEY = Change("What Grafana encrypts in its database, which is gone with its pod.", "Restart `grafana`.")


@frozen
class Showing:
    """`published`: the host, and who may come; None: nobody from outside. `interval_seconds`: between two measurements."""

    prometheus: Endpoint
    loki: Endpoint
    interval_seconds: int
    published: tuple[Host, tuple[str, ...]] | None


class Grafana(Component):
    """One server that keeps nothing: all that it shows is provisioned, so another is as good, and people log in anew."""

    directory = "02-grafana"
    noticed = "users nothing; who looks at dashboards logs in anew"
    config_directory = "monitoring"

    def __init__(self, installation: Installation, place: Place, showing: Showing) -> None:
        super().__init__(installation, "grafana", place)
        keys = SecretSpec(f"{self.name}-admin", self.namespace, {"password": RandomText(), "secret-key": RandomText(64)})
        self.secret(keys, {"password": NEW_PASSWORD, "secret-key": NEW_SECRET_KEY})
        host = showing.published[0].name if showing.published else None
        sources = datasources(f"http://{showing.prometheus.address}", f"http://{showing.loki.address}", showing.interval_seconds)
        settings = self.config(self.name, {"grafana.ini": grafana_ini(host)})
        asked = self.config(
            f"{self.name}-datasources", {"datasources.yaml": yaml_text(sources)}, stored={"datasources.yaml": "grafana-datasources.yaml"}
        )
        provider = self.config(
            f"{self.name}-provider",
            {"dashboards.yaml": yaml_text(dashboard_provider())},
            stored={"dashboards.yaml": "grafana-dashboards.yaml"},
        )
        container = Container(
            name="grafana",
            image=image("grafana"),
            env={"GF_PATHS_CONFIG": f"{_SETTINGS}/grafana.ini"},
            ports=(HTTP,),
            mounts=(
                Mount(settings, _SETTINGS),
                Mount(asked, f"{_PROVISIONING}/datasources"),
                Mount(provider, f"{_PROVISIONING}/dashboards"),
                Mount(self._dashboards(), DASHBOARDS),
                Mount(SecretFiles(keys.name), SECRETS),
                Mount(Scratch("data", mib(256)), "/var/lib/grafana"),
                Mount(Scratch("tmp", mib(64)), "/tmp"),
            ),
            startup=Probe.http("/api/health", "http", period_seconds=5, failures=60),
            readiness=Probe.http("/api/health", "http", period_seconds=5, timeout_seconds=5),
            liveness=Probe.http("/api/health", "http", period_seconds=15, timeout_seconds=10, failures=6),
            resources=Resources(millicores(50), mib(160), mib(512)),
        )
        servers = self.deployment("deployment.yaml", self.name, PodSpec(containers=(container,)), part=self.name, replicas=1)
        http = self.service("service.yaml", self.name, servers, {"http": PORT}).endpoint("http")
        self.connect(self.pods, showing.prometheus, showing.loki)
        self.offers_metrics(self.pods, HTTP, series=3_000)
        if showing.published:
            published, sources_allowed = showing.published
            self.expose("grafana", published, http, allowed_sources=sources_allowed)

    def _dashboards(self) -> ConfigMap:
        files = _files()
        folder = self.path("dashboards")
        self.installation.add_config_map(
            f"{self.name}-boards", self.namespace, {name: (f"{folder}/{name}", text) for name, text in files.items()}
        )
        return ConfigMap(f"{self.name}-boards", self.namespace, tuple((name, f"{folder}/{name}") for name in files))


@cache
def _files() -> dict[str, str]:
    """The dashboards: the same in every size. Loaded here, so that a site that is not watched does not load them, nor Grafana's library."""
    from monitoring.grafana.dashboards import BOARDS
    from monitoring.grafana.rendering import dashboard_json

    return {f"{board.name}.json": dashboard_json(board) for board in BOARDS}


class Dashboards(Component):
    """The same dashboards for a Grafana of others: the sidecar of its chart takes every ConfigMap with this label."""

    directory = "02-grafana"

    def __init__(self, installation: Installation, place: Place) -> None:
        super().__init__(installation, "grafana", place)
        for name, text in _files().items():
            self.add(
                "dashboards.yaml",
                k8s.KubeConfigMap,
                f"dashboard-{name.removesuffix('.json')}",
                extra_labels={"grafana_dashboard": "1"},
                data={name: text},
            )
