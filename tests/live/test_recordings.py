"""The recorded expositions are still what their programs tell: each is made anew where its program can be had, and compared.

What counts are the metrics and labels that an alert or a panel asks for. `expositions/README.md` says how each recording was made.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from app.compiler import render
from app.settings import parse_site
from kit.rendering import Manifest
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.li_stack import Cluster
from tests.live.minio_server import ROOT_PASSWORD, ROOT_USER, minio_program, running_minio
from tests.live.processes import LOOPBACK, accepts_connections, free_ports, running, wait_for
from tests.live.programs import chosen, debian_program, newest_postgresql_programs
from tests.live.recordings import EXPOSITIONS, Remaining, changes, told
from tests.live.test_control_plane import BUILT_IN, NODE
from tests.manifests.rules.objects import workloads

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
        # It counts no kind of error that there has not been, and for each way to put something it has a name of its own.
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="media", Key="none")
        for refused in (
            partial(s3.put_object, Bucket="none", Key="a", Body=b"x"),
            partial(s3.create_multipart_upload, Bucket="none", Key="a"),
            partial(s3.upload_part, Bucket="media", Key="a", PartNumber=1, UploadId="none", Body=b"x"),
        ):
            with pytest.raises(ClientError):
                refused()
        # Its scanner counts what buckets hold now and then.
        remain = Remaining(lambda: changes("minio-cluster", told(f"{minio.endpoint}/minio/v2/metrics/cluster")))
        assert remain.after(90) == []


# -- what looks at a cluster

SITE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {monitoring: true, calls: true}
cluster: {node_cidrs: [198.51.100.0/24]}
tls: {source: internal-ca}
"""
# One that Kubernetes itself ends, so that no kubelet has to.
FAILING = yaml.safe_load("""
apiVersion: batch/v1
kind: Job
metadata: {name: fails, namespace: matrix}
spec:
  activeDeadlineSeconds: 1
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: main
          image: none
          resources: {requests: {cpu: 1m, memory: 1Mi}, limits: {memory: 1Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
""")


@pytest.fixture(scope="module")
def rendered() -> list[Manifest]:
    return render(parse_site(SITE), profiles()[0]).manifests()


@pytest.fixture(scope="module")
def plane(rendered: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with what Kubernetes knows by itself of the smallest size, a Job that fails, and a container that has been started again."""
    folder = tmp_path_factory.mktemp("control-plane")
    with control_plane(folder) as started:
        started.apply([NODE, *(dict(o) for o in rendered if o["kind"] == "Namespace")], folder)
        started.apply([*(dict(o) for o in rendered if o["apiVersion"] in BUILT_IN), FAILING], folder)
        name, namespace = "redis-0", "matrix"
        wait_for(lambda: any(o["metadata"]["name"] == name for o in started.objects("pods", namespace)), 120, name)
        container = {"name": "redis", "image": "none", "imageID": "none", "ready": True, "restartCount": 1}
        patch = json.dumps({"status": {"phase": "Running", "containerStatuses": [container]}})
        started.kubectl("patch", "pod", name, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", patch)
        yield started


def test_kube_state_metrics_tells_what_was_recorded_by_its_own_rights(
    rendered: list[Manifest], plane: ControlPlane, tmp_path: Path
) -> None:
    built = [ROOT / ".tools" / "kube-state-metrics" / "kube-state-metrics"]
    program = chosen("KUBE_STATE_METRICS", built, "kube-state-metrics, which Go builds in a few minutes: make programs")
    (workload,) = (one for one in workloads([dict(o) for o in rendered]) if one.name == "kube-state-metrics")
    port, own = free_ports(2)
    ports = {"--port=8080": f"--port={port}", "--telemetry-port=8081": f"--telemetry-port={own}"}
    arguments = [ports.get(argument, argument) for argument in workload.containers[0]["args"]]
    assert set(ports.values()) < set(arguments)
    inside, environment = plane.as_pod("kube-state-metrics", workload.namespace, tmp_path)
    with running([*inside, program, *arguments], name="kube-state-metrics", environment=environment) as process:
        process.ready(lambda: accepts_connections(port), 60)
        # A Job is given up a second after it was made, and what is watched comes in by and by.
        remain = Remaining(lambda: changes("kube-state-metrics-2.20.0", told(f"http://{LOOPBACK}:{port}/metrics")))
        assert remain.after(60) == []
        assert "cannot list resource" not in process.output()


def test_cert_manager_tells_what_was_recorded(rendered: list[Manifest], plane: ControlPlane, tmp_path: Path) -> None:
    built = [ROOT / ".tools" / "cert-manager" / "cert-manager"]
    program = chosen("CERT_MANAGER", built, "cert-manager, which Go builds in a few minutes: make programs")
    files = Path(program).with_name("files")
    plane.kubectl("apply", "--server-side", "--filename", files)
    plane.wait_for_definitions()
    administrator = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "name": "cert-manager", "namespace": "cert-manager"}
    rights = {"kind": "ClusterRoleBinding", "metadata": {"name": "cert-manager"}, "roleRef": administrator, "subjects": [subject]}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cert-manager", "namespace": "cert-manager"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", **rights},
    ]
    plane.apply(objects, tmp_path)
    issued = [dict(o) for o in rendered if o["apiVersion"].startswith("cert-manager.io/")]
    assert "Certificate" in {o["kind"] for o in issued}
    plane.apply(issued, tmp_path)
    (port,) = free_ports(1)
    inside, environment = plane.as_pod("cert-manager", "cert-manager", tmp_path)
    command = [*inside, program, f"-metrics-listen-address={LOOPBACK}:{port}", "controller"]
    with running(command, name="cert-manager", environment=environment) as process:
        process.ready(lambda: accepts_connections(port), 60)
        url = f"http://{LOOPBACK}:{port}/metrics"
        wait_for(lambda: re.search(r'ready_status{condition="True",.*} 1', told(url)), 60, "a certificate")
        assert changes("cert-manager-1.21.1", told(url)) == []


# -- PostgreSQL


@contextlib.contextmanager
def databases() -> Iterator[tuple[Cluster, Path]]:
    """A primary with a standby that follows it and a logical slot, and the folder with its socket."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="cnpg-")))
        # PostgreSQL does not run as root.
        folder.chmod(0o777)
        programs, ports = newest_postgresql_programs(), free_ports(2)
        primary, standby = (Cluster(programs, folder / name, port, exits) for name, port in zip(("primary", "standby"), ports, strict=True))
        primary.make({"wal_level": "logical", "unix_socket_directories": f"'{folder}'"})
        (primary.folder / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\nhost replication all all trust\n")
        primary.start()
        primary.sql("SELECT pg_create_logical_replication_slot('li', 'pgoutput')", database="postgres")
        address = ("-h", LOOPBACK, "-p", str(primary.port), "-U", "postgres")
        primary.run("pg_basebackup", "-D", standby.folder, *address, "-X", "stream", "-c", "fast")
        (standby.folder / "standby.signal").touch()
        source = f"host={LOOPBACK} port={primary.port} user=postgres"
        standby.configure({"primary_conninfo": f"'{source}'", "unix_socket_directories": "''"})
        standby.start()
        yield primary, folder


def test_the_exporter_of_cloudnative_pg_tells_what_was_recorded(tmp_path: Path) -> None:
    built = [ROOT / ".tools" / "cnpg-exporter" / "cnpg-exporter"]
    program = chosen("CNPG_EXPORTER", built, "CloudNativePG's exporter, which Go builds in a few minutes: make programs")
    (document,) = yaml.safe_load_all(Path(program).with_name("files").joinpath("default-monitoring.yaml").read_text())
    (tmp_path / "queries.yaml").write_text(document["data"]["queries"])
    (port,) = free_ports(1)
    with databases() as (primary, folder):
        environment = {**os.environ, "PGHOST": str(folder), "PGPORT": str(primary.port)}
        command: list[str | Path] = [program, primary.folder, tmp_path / "queries.yaml", f"{LOOPBACK}:{port}"]
        with running(command, name="cnpg-exporter", environment=environment) as process:
            process.ready(lambda: accepts_connections(port), 60)
            remain = Remaining(lambda: changes("cnpg-1.30.0-primary-pg18", told(f"http://{LOOPBACK}:{port}/metrics")))
            assert remain.after(60) == []


def test_what_is_gone_or_has_lost_a_label_or_a_value_is_noticed() -> None:
    recording = (EXPOSITIONS / "redis-exporter-1.86.0-sentinel.txt").read_text()
    broken = recording.replace("redis_sentinel_master_ckquorum_status{", "redis_quorum{")
    assert changes("redis-exporter-1.86.0-sentinel", broken) == ["redis_sentinel_master_ckquorum_status is gone"]
    broken = (EXPOSITIONS / "kube-state-metrics-2.20.0.txt").read_text().replace('condition="true"', 'condition="True"')
    assert "kube_job_failed{condition=true} is gone" in changes("kube-state-metrics-2.20.0", broken)
    recording = (EXPOSITIONS / "node-exporter-1.11.1.txt").read_text()
    assert changes("node-exporter-1.11.1", recording.replace("mountpoint=", "path=")) != []
