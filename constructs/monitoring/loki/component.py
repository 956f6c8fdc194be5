"""Loki: it keeps the logs of all pods in object storage, and finds lines again."""

from attrs import evolve, frozen

from infrastructure.object_storage.s3 import Bucket
from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.network import Endpoint, Port
from kit.place import Place
from kit.pods import Claim, ConfigMap, Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import gib, mib
from kit.text import yaml_text
from monitoring.loki.configuration import DATA, GOSSIP_PORT, GRPC_PORT, HTTP_PORT, LokiSpec, loki_config, overrides
from monitoring.loki.size import LogsSize
from monitoring.options import LogOptions

_BUFFER = gib(16)
"""The volume of each server, in every size: claims of a StatefulSet cannot change. The largest size writes 3 MB a second, of which each
server has two hours as compressed chunks, and five minutes as they came (https://grafana.com/docs/loki/v3.7.x/operations/storage/wal/)."""
HTTP, GRPC, GOSSIP = Port("http", HTTP_PORT), Port("grpc", GRPC_PORT), Port("gossip", GOSSIP_PORT)
_FILES, _KEYS, _AUTHORITY = "/etc/loki", "/secrets/bucket", "/secrets/bucket-ca"


@frozen
class Keeping:
    """What Loki must know: `bucket` as its user sees it."""

    options: LogOptions
    bucket: Bucket
    size: LogsSize


class Loki(Component):
    """Equal servers, each of which does everything. What is younger than two hours is on their volumes, all else in the bucket."""

    directory = "03-loki"
    noticed = "users nothing; where there is one server, logs cannot be searched until it is back"

    def __init__(self, installation: Installation, place: Place, keeping: Keeping) -> None:
        super().__init__(installation, "loki", place)
        keys = keeping.bucket.credentials.within(self.namespace)
        if keys != keeping.bucket.credentials:
            self.secret(keys.spec)
        bucket = evolve(keeping.bucket, credentials=keys)
        members, size = f"{self.name}-members", keeping.size
        spec = LokiSpec(
            options=keeping.options,
            bucket=bucket,
            servers=size.servers,
            members=installation.facts.service_host(members, self.namespace),
            memory=size.loki.memory_limit,
            authority=f"{_AUTHORITY}/ca.crt" if bucket.authority else None,
        )
        files = {"loki.yaml": yaml_text(loki_config(spec)), "overrides.yaml": yaml_text(overrides(keeping.options))}
        data = Claim("data", _BUFFER, installation.facts.storage_classes.default)
        pod = PodSpec(containers=(self._container(self.config(self.name, files), data, bucket, size),), grace_seconds=300)
        servers = self.stateful_set(
            "statefulset.yaml", self.name, pod, part=self.name, replicas=size.servers, governing_service=members, claims=(data,)
        )
        # They find each other before they are ready: being found is a part of getting ready.
        self.service("service.yaml", members, servers, {"gossip": GOSSIP_PORT, "grpc": GRPC_PORT}, headless=True, publish_not_ready=True)
        self.http = self.service("service.yaml", self.name, servers, {"http": HTTP_PORT}).endpoint("http")
        self.connect(self.pods, bucket.peer, *(Endpoint(self.pods, "", port.number, port) for port in (GRPC, GOSSIP)))
        self.offers_metrics(self.pods, HTTP, series=3_000)
        self.keeps(
            "lines of log of the last two hours; older ones are in the bucket",
            f"StatefulSet {self.name}",
            "The other servers, where there are three. Otherwise pods are read again as far as their nodes still have what they have said.",
        )

    def _container(self, files: ConfigMap, data: Claim, bucket: Bucket, size: LogsSize) -> Container:
        keys = SecretFiles(bucket.credentials.secret, items=((bucket.credentials.shared_file, "credentials"),))
        mounts = [Mount(files, _FILES), Mount(data, DATA), Mount(keys, _KEYS), Mount(Scratch("tmp", mib(256)), "/tmp")]
        if bucket.authority:
            mounts.append(Mount(SecretFiles(bucket.authority.secret, items=((bucket.authority.key, "ca.crt"),)), _AUTHORITY))
        return Container(
            name="loki",
            image=image("loki"),
            args=(f"-config.file={_FILES}/loki.yaml", "-target=all"),
            ports=(HTTP, GRPC, GOSSIP),
            mounts=tuple(mounts),
            env={
                "AWS_SHARED_CREDENTIALS_FILE": f"{_KEYS}/credentials",
                # Amazon's library adds checksums that other storages refuse, and asks for them.
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            },
            # It reads its write-ahead log before it answers.
            startup=Probe.http("/ready", "http", period_seconds=5, failures=180),
            readiness=Probe.http("/ready", "http", period_seconds=5, timeout_seconds=5),
            liveness=Probe.tcp("http", period_seconds=15, failures=6),
            resources=size.loki,
        )
