"""The scan workers: they take files over HTTP, have them scanned, and remember verdicts."""

from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from antivirus.options import ICAP, AntivirusOptions
from antivirus.scan_workers.alerts import ALERTS
from antivirus.size import AntivirusSize
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, SecretFiles
from kit.quantities import Bytes
from kit.secrets import SecretSpec
from kit.text import yaml_text

HTTP = Port("http", 8080)
_FOLDER = "/etc/scan-worker"
_ICAP = 1344


@frozen
class ScanWorkersSpec:
    """`token`: the Secret with the token of those who may ask. `redis`: where verdicts are kept, with the Secret of its password."""

    options: AntivirusOptions
    size: AntivirusSize
    max_upload: Bytes
    clamd: Endpoint
    token: SecretSpec
    redis: Endpoint
    redis_secret: str


class ScanWorkers(Component):
    """Equal replicas without state: no file is held as a whole, in memory or on disk."""

    directory = "02-scan-workers"
    noticed = "nothing: a new one is ready before an old one goes"
    config_directory = "antivirus"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: ScanWorkersSpec) -> None:
        super().__init__(installation, "scan-worker", place)
        settings = {"settings.yaml": yaml_text(_settings(spec)), "allowed": "".join(f"{sha}\n" for sha in spec.options.allowed_files)}
        config = self.config(self.name, settings, stored={"settings.yaml": "scan-worker-config.yaml", "allowed": "allowed-files"})
        container = Container(
            name="scan-worker",
            image=image("scan-worker"),
            command=("python", "-m", "services.scan_worker", f"{_FOLDER}/settings.yaml"),
            ports=(HTTP,),
            mounts=(
                Mount(config, _FOLDER),
                Mount(SecretFiles(spec.token.name, items=(("token", "token"),)), "/secrets/scan-worker"),
                Mount(SecretFiles(spec.redis_secret, items=(("password", "password"),)), "/secrets/redis"),
            ),
            # Not /ready, which fails with the engines: the answer 503 says more than no answer.
            readiness=Probe.http("/health", "http", period_seconds=5),
            liveness=Probe.http("/health", "http", timeout_seconds=5),
            linger_seconds=5,
            resources=spec.size.worker,
        )
        # A file that is being scanned may take until clamd's own limit of time.
        pod = PodSpec(containers=(container,), grace_seconds=90)
        workers = self.deployment(
            "deployment.yaml", self.name, pod, part=self.name, replicas=spec.size.workers, most=spec.size.most_workers
        )
        self.http = self.service("service.yaml", self.name, workers, {"http": HTTP.number}).endpoint("http")
        self.connect(self.pods, spec.clamd, spec.redis, *(_outside(spec.options)))
        self.offers_metrics(self.pods, HTTP, series=100)
        self.alerts(*ALERTS)


def _settings(spec: ScanWorkersSpec) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "token_file": "/secrets/scan-worker/token",
        "max_bytes": spec.max_upload.count,
        "clamd": {"addresses": [spec.clamd.address]},
        "concurrency": {"scans": spec.size.scans},
        "cache": {"host": spec.redis.host, "port": spec.redis.port, "password_file": "/secrets/redis/password"},
        "allow_list_file": f"{_FOLDER}/allowed",
    }
    if spec.options.icap:
        settings["icap"] = [{"name": name, "url": url} for name, url in spec.options.icap]
    return settings


def _outside(options: AntivirusOptions) -> list[External]:
    ports = tuple(dict.fromkeys(urlsplit(url).port or _ICAP for _, url in options.icap))
    return [External(ICAP, ports, options.icap_cidrs)] if ports else []
