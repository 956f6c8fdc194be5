"""The content scanner: files of encrypted rooms, scanned as they are downloaded, with the key that the client hands over."""

from attrs import frozen

from antivirus.content_scanner.configuration import FILES, HTTP, SECRETS, settings
from antivirus.size import AntivirusSize
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Bytes, Resources, mib
from kit.secrets import Change, Composed, RandomText, Recipe, SecretSpec
from kit.text import yaml_text
from main_instance.synapse.worker_type import Route

ROUTES = (Route("^/_matrix/media_proxy/unstable/"),)
"""What it serves on Synapse's host."""
ALIVE = "/_matrix/media_proxy/unstable/public_key"
"""It has no path for probes; this one needs nothing but the program itself."""
AT_ONCE = 2
"""Requests that each proxy gives to each replica at once."""
_COPIES = 5
"""How often it holds a file in memory: up to four times itself, and in `scan`."""
_FOLDER = "/etc/content-scanner"
KEY: dict[str, Recipe] = {"random": RandomText(42), "key": Composed("{random}A=")}
"""32 bytes in base64: of 43 digits the last has two bits that must be zero."""
NEW_KEY = Change("Clients fetch the new public half; what they have sealed with the old one fails once.", "Restart `content-scanner`.")


@frozen
class ContentScannerSpec:
    """`token`: the Secret with the scan workers' token. `homeserver`: where files are downloaded, with the client's own access token.

    `proxies`: how many give it requests. There are as many of it as of scan workers.
    """

    scan_worker: Endpoint
    token: SecretSpec
    homeserver: Endpoint
    max_upload: Bytes
    size: AntivirusSize
    proxies: int


class ContentScanner(Component):
    """Equal replicas with one key: a file that is scanned lies decrypted in memory, and nothing of it is kept."""

    directory = "04-content-scanner"
    noticed = "nothing: a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: ContentScannerSpec) -> None:
        super().__init__(installation, "content-scanner", place)
        self.secret(SecretSpec(self.name, self.namespace, KEY), {"random": NEW_KEY})
        largest = spec.max_upload * (spec.proxies * AT_ONCE)
        config = self.config(f"{self.name}-config", {"config.yaml": yaml_text(settings(f"http://{spec.homeserver.address}"))})
        container = Container(
            name=self.name,
            image=image("content-scanner"),
            ports=(HTTP,),
            mounts=(
                Mount(config, _FOLDER),
                Mount(SecretFiles(self.name, items=(("key", "key"),)), SECRETS),
                Mount(SecretFiles(spec.token.name, items=(("token", "token"),)), "/secrets/scan-worker"),
                Mount(Scratch("scan", mib(64) + largest, in_memory=True), FILES),
            ),
            env={
                "SCAN_WORKER_URL": f"http://{spec.scan_worker.address}",
                "SCAN_WORKER_TOKEN_FILE": "/secrets/scan-worker/token",
            },
            readiness=Probe.http(ALIVE, "http", period_seconds=5),
            liveness=Probe.http(ALIVE, "http", timeout_seconds=5),
            linger_seconds=5,
            resources=Resources(spec.size.worker.cpu, mib(128), mib(256) + largest * _COPIES),
        )
        pod = PodSpec(containers=(container,), grace_seconds=90)
        self.most = spec.size.most_workers
        scanners = self.deployment("deployment.yaml", self.name, pod, part=self.name, replicas=spec.size.workers, most=self.most)
        # The proxies find every replica, so that no one gets more files at once than it has memory for.
        self.http = self.service("service.yaml", self.name, scanners, {"http": HTTP.number}, headless=True).endpoint("http")
        self.connect(self.pods, spec.scan_worker, spec.homeserver)
