"""The same servers without MinIO's operator, which is archived: a StatefulSet for each pool."""

from collections.abc import Sequence

from attrs import evolve

from infrastructure.object_storage.options import MinioOptions
from infrastructure.object_storage.size import ErasureSize
from infrastructure.object_storage.store import API, MOUNT, SETTINGS, Store
from kit.component import Workload
from kit.images import image
from kit.installation import Installation
from kit.place import Place
from kit.pods import Claim, Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import mib

_ROOT_USER = "/secrets/minio"
_JOINING_SECONDS = 30
"""A server that answers may lack drives of others for 15 seconds and more, and then knows nothing of what is there (Silo,
docs/metrics/healthcheck): until then nobody is led to it, and an update does not go on to the next."""


class SiloStore(Store):
    """One StatefulSet for each pool, with the names and claims that the operator gives them, and every server is told of all pools."""

    pods_label = "app.kubernetes.io/name"

    def __init__(self, installation: Installation, place: Place, pools: Sequence[ErasureSize], options: MinioOptions, holds: str) -> None:
        super().__init__(installation, place)
        self._options = options
        self._others = f"{self.name}-hl"
        drives = " ".join(self._drives(number, pool) for number, pool in enumerate(pools))
        servers = [self._pool(number, pool, pools[0].parity, drives) for number, pool in enumerate(pools)]
        file = f"{place.instance}-service.yaml"
        self.service(file, "minio", servers[0], {API.name: 80}, pods=self.pods)
        # Servers look for each other before they are ready.
        self.service(file, self._others, servers[0], {API.name: API.number}, pods=self.pods, headless=True, publish_not_ready=True)
        for pool in servers:
            self.keeps(holds, f"StatefulSet {pool.name}", self.restored)

    def _drives(self, number: int, pool: ErasureSize) -> str:
        """All drives of a pool, in MinIO's own notation."""
        host = self.installation.facts.service_host(self._others, self.namespace)
        each = f"{MOUNT}{{0...{pool.drives - 1}}}" if pool.drives > 1 else MOUNT
        return f"http://{self.name}-pool-{number}-{{0...{pool.nodes - 1}}}.{host}:{API.number}{each}"

    def _pool(self, number: int, pool: ErasureSize, parity: int, drives: str) -> Workload:
        """One that is never changed: MinIO finds drives by its number."""
        part = f"pool-{number}"
        claims = tuple(
            Claim(f"data{drive}", pool.drive, self.installation.facts.storage_classes.object_storage) for drive in range(pool.drives)
        )
        paths = [f"{MOUNT}{drive}" for drive in range(pool.drives)] if pool.drives > 1 else [MOUNT]
        # It answers as soon as it runs: a server that waits for others is not to be killed, and those of a pool that grows wait for all.
        alive = Probe.http("/minio/health/live", API.name, timeout_seconds=5, failures=6)
        server = Container(
            name="minio",
            image=image("minio", self._options.image),
            # The image's own entry point puts the program's name in front.
            args=("server", "--certs-dir", "/tmp/certs", "--address", f":{API.number}"),
            ports=(API,),
            mounts=(
                Mount(SecretFiles(self.root.name, items=(("config.env", "config.env"),)), _ROOT_USER),
                Mount(Scratch("tmp", mib(64)), "/tmp"),
                *(Mount(claim, path) for claim, path in zip(claims, paths, strict=True)),
            ),
            env={
                "MINIO_CONFIG_ENV_FILE": f"{_ROOT_USER}/config.env",
                "MINIO_VOLUMES": drives,
                # Fixed when the first drive is formatted; MinIO refuses to start where the set is too small for it.
                "MINIO_STORAGE_CLASS_STANDARD": f"EC:{parity}",
                **SETTINGS,
            },
            readiness=evolve(alive, delay_seconds=_JOINING_SECONDS),
            liveness=alive,
            resources=pool.resources,
        )
        return self.stateful_set(
            f"{self.place.instance}-statefulset.yaml",
            f"{self.name}-{part}",
            PodSpec(containers=(server,), one_per_node=self._options.one_server_per_node, to_lose=pool.servers_to_lose),
            part=part,
            replicas=pool.nodes,
            governing_service=self._others,
            claims=claims,
        )
