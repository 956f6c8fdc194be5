"""The recorded expositions are still what their programs tell: each is made anew where its program can be had, and compared.

What counts are the metrics and labels that an alert or a panel asks for. `expositions/README.md` says how each recording was made.
"""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import boto3
import pytest

from tests.kustomize import ROOT
from tests.live.minio_server import ROOT_PASSWORD, ROOT_USER, minio_program, running_minio
from tests.live.processes import LOOPBACK, accepts_connections, free_ports, running
from tests.live.programs import chosen, debian_program
from tests.live.recordings import EXPOSITIONS, Remaining, changes, told

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(300)]


def test_node_exporter_tells_what_was_recorded() -> None:
    (port,) = free_ports(1)
    program = debian_program("prometheus-node-exporter", "usr/bin/prometheus-node-exporter")
    with running([program, f"--web.listen-address={LOOPBACK}:{port}"], name="node-exporter") as process:
        process.ready(lambda: accepts_connections(port), 30)
        assert changes("node-exporter-1.11.1", told(f"http://{LOOPBACK}:{port}/metrics")) == []


def valkey() -> str:
    """The server that is deployed: an older one, and Redis, have other metrics."""
    folder = ROOT / ".tools" / "debian" / "valkey-server"
    program = folder / "usr" / "bin" / "valkey-server"
    return chosen("VALKEY", [program], f"Valkey 9: tools/debian-program forky valkey-server {folder}")


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Mapping[str, int]]:
    """A primary, a replica that follows it, and a Sentinel that watches them; each by its port."""
    primary, replica, sentinel = free_ports(3)
    (folder / "sentinel.conf").write_text(f"sentinel monitor primary {LOOPBACK} {primary} 1\n")
    server = [valkey(), "--bind", LOOPBACK, "--save", "", "--dir", str(folder)]
    with contextlib.ExitStack() as stack:
        for name, command in {
            "primary": [*server, "--port", str(primary)],
            "replica": [*server, "--port", str(replica), "--replicaof", f"{LOOPBACK} {primary}"],
            "sentinel": [valkey(), str(folder / "sentinel.conf"), "--sentinel", "--port", str(sentinel)],
        }.items():
            process = stack.enter_context(running(command, name=name))
            process.ready(partial(accepts_connections, {"primary": primary, "replica": replica, "sentinel": sentinel}[name]), 30)
        yield {"primary": primary, "replica": replica, "sentinel": sentinel}


def test_redis_exporter_tells_what_was_recorded(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    program = debian_program("prometheus-redis-exporter", "usr/bin/prometheus-redis-exporter")
    command = [program, "-redis.addr=", f"-web.listen-address={LOOPBACK}:{port}"]
    with redis(tmp_path) as servers, running(command, name="redis-exporter") as process:
        process.ready(lambda: accepts_connections(port), 30)
        for name, server in servers.items():
            url = f"http://{LOOPBACK}:{port}/scrape?target=redis://{LOOPBACK}:{server}"
            # A replica takes a moment to follow, and a Sentinel to find it.
            remain = Remaining(partial(lambda name, url: changes(f"redis-exporter-1.86.0-{name}", told(url)), name, url))
            assert remain.after(30) == [], name


def test_minio_tells_what_was_recorded(tmp_path: Path) -> None:
    with running_minio(minio_program(), tmp_path, environment={"MINIO_PROMETHEUS_AUTH_TYPE": "public"}) as minio:
        s3 = boto3.client("s3", endpoint_url=minio.endpoint, aws_access_key_id=ROOT_USER, aws_secret_access_key=ROOT_PASSWORD)
        s3.create_bucket(Bucket="media")
        for number in range(20):
            s3.put_object(Bucket="media", Key=str(number), Body=b"x" * 1000)
            s3.get_object(Bucket="media", Key=str(number))["Body"].read()
        # Its scanner counts what buckets hold now and then.
        remain = Remaining(lambda: changes("minio-cluster", told(f"{minio.endpoint}/minio/v2/metrics/cluster")))
        assert remain.after(90) == []


def test_what_is_gone_or_has_lost_a_label_is_noticed() -> None:
    recording = (EXPOSITIONS / "redis-exporter-1.86.0-sentinel.txt").read_text()
    broken = recording.replace("redis_sentinel_master_ckquorum_status{", "redis_quorum{")
    assert changes("redis-exporter-1.86.0-sentinel", broken) == ["redis_sentinel_master_ckquorum_status is gone"]
    recording = (EXPOSITIONS / "node-exporter-1.11.1.txt").read_text()
    assert changes("node-exporter-1.11.1", recording.replace("mountpoint=", "path=")) != []
