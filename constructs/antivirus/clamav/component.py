"""ClamAV: clamd, and the mirror inside the cluster that its signatures come from."""

from attrs import frozen

from antivirus.clamav.configuration import DATABASES, FOLDER, PORT, STATE, ClamAvSpec, files
from antivirus.options import CLAMAV, Engines, Signatures
from antivirus.size import AntivirusSize
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, External, Pods, Port
from kit.place import Place
from kit.pods import Container, KeptVolume, Mount, PodSpec, Probe, Scratch
from kit.quantities import Bytes, Resources, gib, mib, millicores

CLAMD = Port("clamd", PORT)
MIRROR = Port("http", 8080)
_SIGNATURES = "/signatures"
_BUNDLE = f"{_SIGNATURES}/bundle"
"""Where the operator of a site without internet puts ClamAV's databases."""
_EVERY_FOUR_HOURS = "17 */4 * * *"
# Alive is also who waits for the first signatures; the answer of one who loads new ones may take a minute.
_LIVES = ("/bin/sh", "-c", f"[ ! -e {DATABASES}/{STATE} ] || clamdscan --config-file={FOLDER}/clamd.conf --ping 3:1")
_LOOKS = ("/bin/sh", "-c", "find /tmp/.looked -mmin -60 | grep -q .")
"""Whether there was a look for new signatures in the last hour: every ten minutes, and one look may take long."""


@frozen
class ClamAvChoice:
    """What the site and its size say of clamd."""

    engines: Engines
    signatures: Signatures
    refuse_encrypted: bool
    size: AntivirusSize
    max_upload: Bytes


class ClamAv(Component):
    """clamd on every node, or a few; and one small server that hands out signatures, which a CronJob fetches or takes from its volume.

    So pods start without internet, and all of them have the same signatures.
    """

    directory = "01-clamav"
    noticed = "nothing: scan workers ask an engine of another node"
    config_directory = "antivirus"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, choice: ClamAvChoice) -> None:
        super().__init__(installation, "clamav", place)
        mirror = self._mirror(choice.signatures)
        size = choice.size
        spec = ClamAvSpec(f"http://{mirror.address}", choice.max_upload, size.scans, size.scans_while_loading, choice.refuse_encrypted)
        config = self.config(self.name, files(spec))
        signatures = Mount(Scratch("signatures", gib(2)), DATABASES)
        clamd = Container(
            name="clamd",
            image=image("clamav"),
            command=("/bin/sh", f"{FOLDER}/start.sh"),
            ports=(CLAMD,),
            mounts=(Mount(config, FOLDER), signatures, Mount(Scratch("tmp", spec.temporary), "/tmp")),
            readiness=Probe.tcp("clamd", period_seconds=5),
            liveness=Probe.command(*_LIVES, period_seconds=30, timeout_seconds=10, failures=10),
            resources=size.engine,
        )
        freshclam = Container(
            name="freshclam",
            image=image("clamav"),
            command=("/bin/sh", f"{FOLDER}/update.sh"),
            mounts=(Mount(config, FOLDER), signatures, Mount(Scratch("freshclam-tmp", gib(1)), "/tmp")),
            readiness=Probe.command(*_LOOKS, period_seconds=60),
            liveness=Probe.command(*_LOOKS, period_seconds=60),
            resources=Resources(millicores(10), mib(32), mib(256)),
        )
        pod = PodSpec(containers=(clamd, freshclam), grace_seconds=60)
        if choice.engines is Engines.EVERY_NODE:
            engines = self.daemon_set("daemonset.yaml", self.name, pod, part="clamd")
        else:
            engines = self.deployment("daemonset.yaml", self.name, pod, part="clamd", replicas=size.engines)
        service = self.service("service.yaml", self.name, engines, {"clamd": PORT}, part="clamd", same_node=True)
        self.clamd = service.endpoint("clamd")
        self.connect(engines.pods, mirror)

    def _mirror(self, source: Signatures) -> Endpoint:
        volume = self.kept_volume("freshclam-cronjob.yaml", "signatures", gib(2))
        self.keeps("ClamAV's signatures", "PersistentVolumeClaim signatures", "The next run of the CronJob, or you, by the bundle.")
        server = Container(
            name="mirror",
            image=image("scan-worker"),
            command=("python", "-m", "services.signature_mirror", "serve", _SIGNATURES, "--port", str(MIRROR.number)),
            ports=(MIRROR,),
            mounts=(Mount(volume, _SIGNATURES, read_only=source is Signatures.INTERNET),),
            readiness=Probe.http("/health", "http"),
            liveness=Probe.http("/health", "http"),
            resources=Resources(millicores(10), mib(48), mib(128)),
        )
        pod = PodSpec(containers=(server,))
        servers = self.deployment("mirror.yaml", "signature-mirror", pod, part="mirror", replicas=1, one_at_a_time=True)
        service = self.service("service.yaml", "signature-mirror", servers, {"http": MIRROR.number}, part="mirror")
        self._updates(volume, source, servers.pods)
        return service.endpoint("http")

    def _updates(self, volume: KeptVolume, source: Signatures, servers: Pods) -> None:
        """One run at once, for a new installation would refuse every file until the next hour of the CronJob."""
        command = ("python", "-m", "services.signature_mirror", "update", _SIGNATURES)
        update = Container(
            name="update",
            image=image("scan-worker"),
            command=(*command, "--from", _BUNDLE) if source is Signatures.BUNDLE else command,
            mounts=(Mount(volume, _SIGNATURES), Mount(Scratch("tmp", gib(1)), "/tmp")),
            resources=Resources(millicores(20), mib(64), mib(512)),
        )
        pod = PodSpec(containers=(update,), restart_policy="OnFailure", beside=servers)
        runs = [self.cron_job("freshclam-cronjob.yaml", "signature-update", pod, part="update", schedule=_EVERY_FOUR_HOURS)]
        runs.append(self.job("freshclam-cronjob.yaml", "signature-update", pod, part="update", backoff_limit=20))
        if source is Signatures.INTERNET:
            self.connect(runs[0].pods, External(CLAMAV, (443,), public=True))
