"""What stands in for a cluster's operators and for container images. Whatever is not listed here runs as it is rendered."""

import base64
import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from attrs import evolve

from app.inspection.changes import READ_AT_START
from app.inspection.reach.operators import derived
from tests.live.certificates import authority
from tests.live.cluster.sandbox import Image
from tests.live.cluster.workloads import Workload
from tests.live.programs import newest_postgresql_programs, postgresql_programs

Manifest = Mapping[str, Any]

ROOT = Path(__file__).parents[3]
STAND_INS = ROOT / "tests" / "live" / "stand_ins"

# --- images ---


def _python(environment: str, **settings: Any) -> Image:
    """A virtual environment of the repository, with the interpreter that it was made from."""
    folder = ROOT / environment
    interpreter = Path(os.path.realpath(folder / "bin" / "python")).parents[1]
    outside = () if interpreter == Path("/usr") else (str(interpreter),)
    return Image((str(folder), *outside), (str(folder / "bin"),), {"VIRTUAL_ENV": str(folder)}, **settings)


def _valkey() -> Image:
    # Debian 12 has no Valkey. Redis 7 has the same protocol and configuration; its Sentinel does not know FAILOVER COORDINATED, which the
    # rendered scripts are prepared for.
    names = ("server", "cli", "sentinel")
    return Image(aliases={} if shutil.which("valkey-server") else {f"valkey-{name}": f"redis-{name}" for name in names})


# The image of a container is the first of these whose name is part of it. None: its program is not on this machine.
IMAGES: Mapping[str, Callable[[], Image | None]] = {
    "/synapse:": lambda: _with_services(_python(".venv-live", heavy=True)),
    "/scan-worker:": lambda: _with_services(_python(".venv-scan-worker")),
    "/content-scanner:": lambda: _content_scanner(),
    "/state-compressor:": lambda: _state_compressor(),
    "clamav/clamav:": lambda: Image(path=("/usr/sbin",)),
    "library/haproxy:": lambda: Image((str(ROOT / ".tools" / "haproxy"),), (str(ROOT / ".tools" / "haproxy"),), stop_signal="SIGUSR1"),
    "valkey/valkey:": _valkey,
    "vectorim/element-web:": lambda: Image(
        files={"/app": str(STAND_INS / "element-web"), "/etc/nginx/mime.types": "/etc/nginx/mime.types"}, stop_signal="SIGQUIT"
    ),
    "matrixdotorg/sygnal:": lambda: _stand_ins(),
    "matrix-authentication-service:": lambda: _stand_ins(entrypoint=("mas-cli",), aliases={"mas-cli": str(STAND_INS / "mas_cli.py")}),
    "coturn/coturn:": Image,
    "livekit/livekit-server:": lambda: _program("/livekit-server", "LIVEKIT", str(ROOT / ".tools" / "livekit" / "livekit-server")),
    "element-hq/lk-jwt-service:": lambda: _program("/lk-jwt-service", "LK_JWT_SERVICE", "lk-jwt-service"),
    "etkecc/ketesa:": lambda: _ketesa(),
    "/key-vault:": lambda: _with_services(_python(".venv")),
    "/li-sync:": lambda: _li_sync(),
    "prometheus/prometheus:": lambda: _debian("prometheus", "prometheus"),
    "prometheus/alertmanager:": lambda: _debian("prometheus-alertmanager", "prometheus-alertmanager", shares="/usr/share"),
    "prometheus/node-exporter:": lambda: _debian("prometheus-node-exporter", "prometheus-node-exporter", sees="/sys"),
    "oliver006/redis_exporter:": lambda: _debian("prometheus-redis-exporter", "prometheus-redis-exporter"),
    # It asks the API server for objects, and there are but Secrets in the stand-in of this node.
    "kube-state-metrics/kube-state-metrics:": lambda: None,
    "grafana/grafana:": lambda: _stand_ins(entrypoint=("grafana",), aliases={"grafana": str(STAND_INS / "grafana.py")}),
    "grafana/loki:": lambda: _stand_ins(entrypoint=("loki",), aliases={"loki": str(STAND_INS / "loki.py")}),
    "grafana/alloy:": lambda: _stand_ins(entrypoint=("alloy",), aliases={"alloy": str(STAND_INS / "alloy.py")}),
    "substitute/postgresql-newest": lambda: _postgresql_image(newest_postgresql_programs()),
    "substitute/postgresql": lambda: _postgresql_image(postgresql_programs()),
    "pgsty/silo:": lambda: _silo(),
    "substitute/minio": lambda: _minio_image(),
    "substitute/moto": lambda: _python(".venv-live"),
    "substitute/client": lambda: _with_repository(_python(".venv-live")),
}


@cache
def image(name: str) -> Image:
    """What stands in for an image. Raises LookupError if nothing does."""
    for part, make in IMAGES.items():
        if part in name:
            if found := make():
                return found
            raise MissingError(f"the program of {name} is not on this machine")
    raise LookupError(f"nothing stands in for the image {name}: see {Path(__file__).name}")


class MissingError(LookupError):
    """What stands in for an image is not there."""


def _program(inside: str, variable: str, usual: str) -> Image | None:
    """An image of one program: the one that a variable names, else the usual one."""
    found = shutil.which(os.environ.get(variable, usual))
    return Image(files={inside: str(Path(found).absolute())}, entrypoint=(inside,)) if found else None


def _debian(package: str, program: str, *, shares: str = "", sees: str = "") -> Image | None:
    """An image of one program of a newer Debian (tools/debian-program).

    `shares`: the folder of its files that it asks for by its usual path. `sees`: what every container runtime mounts and this node does not.
    """
    folder = ROOT / ".tools" / "debian" / package
    files = ({shares: f"{folder}{shares}"} if shares else {}) | ({sees: sees} if sees else {})
    return Image((str(folder),), entrypoint=(f"{folder}/usr/bin/{program}",), files=files) if (folder / ".done").exists() else None


def _stand_ins(**settings: Any) -> Image:
    """Programs of the tests, under the names of modules by which images have them."""
    environment, folder = _python(".venv-live"), str(STAND_INS)
    return Image((*environment.folders, folder), environment.path, {**environment.environment, "PYTHONPATH": folder}, **settings)


def _ketesa() -> Image:
    # $KETESA: the folder that `yarn build` makes of its sources.
    files = os.environ.get("KETESA", str(STAND_INS / "ketesa"))
    pages = {f"/var/public/{file.name}": str(file) for file in Path(files).iterdir() if file.name != "config.json"}
    alone = {"static-web-server": str(STAND_INS / "static_web_server.py")}
    found = _stand_ins(entrypoint=("static-web-server",), aliases=alone, files=pages)
    return evolve(found, environment={**found.environment, "SERVER_PORT": "8080"})


def _content_scanner() -> Image | None:
    """What its Containerfile makes, where `make content-scanner` has been called."""
    folder = ROOT / ".tools" / "content-scanner"
    if not (folder / ".done").exists():
        return None
    start = (str(folder / "bin" / "python"), "-m", "matrix_content_scanner.mcs", "-c", "/etc/content-scanner/config.yaml")
    scan = {"/usr/local/bin/scan": str(ROOT / "services" / "content_scanner" / "scan.py")}
    return evolve(_python(".tools/content-scanner"), entrypoint=start, files=scan)


def _state_compressor() -> Image | None:
    """What its Containerfile makes, where `make state-compressor` has been called."""
    folder, environment = ROOT / ".tools" / "state-compressor", _with_services(_python(".venv-live"))
    if not (folder / ".done").exists():
        return None
    return evolve(environment, folders=(*environment.folders, str(folder)), path=(*environment.path, str(folder)))


def _li_sync() -> Image:
    # Its image has pg_dump of main's version.
    own, postgresql = _with_services(_python(".venv")), _postgresql_image(newest_postgresql_programs())
    return evolve(own, folders=(*own.folders, *postgresql.folders), path=(*own.path, *postgresql.path))


def _with_services(environment: Image) -> Image:
    """What images of ours have of this repository: the programs of `services/`."""
    own = (*environment.folders, str(ROOT / "services"))
    return evolve(environment, folders=own, environment={**environment.environment, "PYTHONPATH": str(ROOT)})


def _with_repository(environment: Image) -> Image:
    return Image((str(ROOT), *environment.folders[1:]), environment.path, {**environment.environment, "PYTHONPATH": f"{ROOT}"})


def not_run(workload: Workload) -> str:
    """Why a workload does not run here, or nothing if it does."""
    if workload.kind == "Job" and workload.name.startswith("minio-") and not minio_program():
        return "moto, which stands in for MinIO where that is not built, has neither users nor policies"
    if workload.kind == "Job" and "-first-backup" in workload.name:
        return "there is no operator here that takes a backup"
    try:
        for container in workload.template["spec"]["containers"]:
            image(container["image"])
    except MissingError as error:
        return str(error)
    return ""


# --- what a program of this machine is too old for ---


def adapted(objects: Sequence[Manifest]) -> list[Manifest]:
    """The same objects, with those changed that the programs of this machine could not serve. Each change has its reason here."""
    return [_without_metrics(o) if o["kind"] == "DaemonSet" and o["metadata"]["name"] == "coturn" else o for o in objects]


def _without_metrics(coturn: Manifest) -> Manifest:
    """Debian 12's coturn is older than 4.6.3, or built without Prometheus, and has no metrics, by which it is probed."""
    printed = subprocess.run(["turnserver", "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    if tuple(map(int, re.findall(r"\d+", printed)[:3])) >= (4, 6, 3):
        return coturn
    changed: dict[str, Any] = copy.deepcopy(dict(coturn))
    for container in changed["spec"]["template"]["spec"]["containers"]:
        for probe in ("readinessProbe", "livenessProbe"):
            del container[probe]["httpGet"]
            container[probe]["tcpSocket"] = {"port": "turn"}
    return changed


# --- operators ---


def substitutes(objects: Sequence[Manifest], secrets: Callable[[str, str], Mapping[str, bytes] | None]) -> list[Manifest]:
    """The objects that operators would add to these. `secrets`: those that exist, which are not made again."""
    operated = derived(objects)
    # All Services of the operators; of their pods only those below.
    found: list[Manifest] = [o for o in operated if o["kind"] == "Service"]
    for o in objects:
        if o["kind"] == "Cluster" and o["apiVersion"].startswith("postgresql.cnpg.io/"):
            found += _postgresql(o, operated, secrets, _added(o, objects), newest=replicates(objects))
        if o["kind"] == "Tenant":
            found += _object_storage(o, operated, objects)
    return found


# CloudNativePG: one instance, the primary, in place of the operator's instances. Its data is in memory, where fsync does nothing: no test
# takes the power from it.

# Parameters that PostgreSQL has only since a version: Debian's may be older.
SINCE = {"sync_replication_slots": 17, "idle_replication_slot_timeout": 18, "io_method": 18}

_START_POSTGRESQL = """\
umask 077
if [ ! -f /data/pgdata/PG_VERSION ]; then
    initdb --pgdata /data/pgdata --username postgres --encoding UTF8 --locale C --data-checksums --auth trust --no-sync >/dev/null
    {
        printf "CREATE ROLE %s LOGIN PASSWORD '%s';\\n\\n" "$OWNER" "$PASSWORD"
        printf "CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';\\n\\n" "$DATABASE" "$OWNER"
        for number in $(seq "$ROLES"); do
            eval "password=\\$PASSWORD_$number role=\\$ROLE_$number"
            printf "CREATE ROLE %s PASSWORD '%s';\\n\\n" "$role" "$password"
        done
        for statement in "$@"; do
            printf "%s;\\n\\n" "$statement"
        done
    } | postgres --single -j -D /data/pgdata postgres >/dev/null
fi
exec postgres -D /data/pgdata -c config_file=/etc/postgresql/postgresql.conf -c hba_file=/etc/postgresql/pg_hba.conf
"""


def _added(cluster: Manifest, objects: Sequence[Manifest]) -> list[Manifest]:
    """The roles and databases that the cluster is given besides its first."""
    kinds, where = ("Database", "DatabaseRole"), (cluster["metadata"].get("namespace"), cluster["metadata"]["name"])
    return [o for o in objects if o["kind"] in kinds and (o["metadata"].get("namespace"), o["spec"]["cluster"]["name"]) == where]


def _role(spec: Manifest) -> str:
    """How a role is created."""
    members = f" IN ROLE {', '.join(spec['inRoles'])}" if spec.get("inRoles") else ""
    return f"{spec['name']} LOGIN{' REPLICATION' if spec.get('replication') else ''}{members}"


def _postgresql(
    cluster: Manifest,
    operated: Sequence[Manifest],
    secrets: Callable[[str, str], Mapping[str, bytes] | None],
    added: Sequence[Manifest],
    *,
    newest: bool,
) -> Iterator[Manifest]:
    namespace, name, spec = cluster["metadata"].get("namespace", "default"), cluster["metadata"]["name"], cluster["spec"]
    first = next(
        o for o in operated if o["kind"] == "Pod" and o["metadata"]["name"] == f"{name}-1" and o["metadata"]["namespace"] == namespace
    )
    bootstrap = spec["bootstrap"]["initdb"]
    if secrets(namespace, f"{name}-app") is None:
        yield from _postgresql_secrets(namespace, name, bootstrap["database"], bootstrap["owner"])
    printed = subprocess.run(
        [(newest_postgresql_programs() if newest else postgresql_programs()) / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout
    version = int(re.findall(r"\d+", printed)[0])
    parameters = {key: value for key, value in spec["postgresql"]["parameters"].items() if SINCE.get(key, 0) <= version}
    parameters |= {
        # The operator's own default (pkg/postgres/configuration.go).
        "wal_level": "logical",
        "listen_addresses": "*",
        "unix_socket_directories": "/run/postgresql",
        "ssl": "on",
        "ssl_cert_file": "/tls/tls.crt",
        "ssl_key_file": "/tls/tls.key",
        "logging_collector": "off",
    }
    if any(key.startswith("pg_stat_statements.") for key in parameters):
        # As the operator does for its managed extensions (pkg/postgres/configuration.go).
        parameters["shared_preload_libraries"] = "pg_stat_statements"
    files = {
        "postgresql.conf": "".join(f"{key} = '{value}'\n" for key, value in parameters.items()),
        "pg_hba.conf": "\n".join(["local all all trust", *spec["postgresql"].get("pg_hba", ())]) + "\n",
    }
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": f"{name}-configuration"}, "data": files}
    roles = [o["spec"] for o in added if o["kind"] == "DatabaseRole"]
    databases = [f"CREATE DATABASE {o['spec']['name']} OWNER {o['spec']['owner']}" for o in added if o["kind"] == "Database"]
    container = {
        "name": "postgres",
        "image": "substitute/postgresql-newest" if newest else "substitute/postgresql",
        "command": ["/bin/sh", "-euc", _START_POSTGRESQL, "start", *databases, *bootstrap.get("postInitSQL", ())],
        "env": [
            {"name": "OWNER", "value": bootstrap["owner"]},
            {"name": "DATABASE", "value": bootstrap["database"]},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": f"{name}-app", "key": "password"}}},
            {"name": "ROLES", "value": str(len(roles))},
            # Nobody reads it: the operator replaces an instance when one of these changes, as a template that changes does here.
            {"name": "READ_AT_START", "value": " ".join(f"{key}={parameters[key]}" for key in READ_AT_START.split() if key in parameters)},
            *(variable for number, role in enumerate(roles, 1) for variable in _role_variables(number, role)),
        ],
        "ports": [{"name": "postgresql", "containerPort": 5432}],
        "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "/run/postgresql", "-d", bootstrap["database"]]}, "periodSeconds": 1},
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
        # Fast shutdown, as the operator asks for after smartShutdownTimeout.
        "lifecycle": {"preStop": {"exec": {"command": ["pg_ctl", "stop", "-D", "/data/pgdata", "-m", "fast", "-W"]}}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "run", "mountPath": "/run/postgresql"},
            {"name": "configuration", "mountPath": "/etc/postgresql", "readOnly": True},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    }
    pod = {
        "containers": [container],
        # The user of the operator's images.
        "securityContext": {"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26, "runAsNonRoot": True},
        "terminationGracePeriodSeconds": 30,
        "volumes": [
            {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
            {"name": "tls", "secret": {"secretName": f"{name}-server", "defaultMode": 0o440}},
            {"name": "run", "emptyDir": {}},
        ],
    }
    yield _stateful_set(namespace, name, first["metadata"]["labels"], pod, start=1, claims=["data"])


def _role_variables(number: int, role: Manifest) -> list[Manifest]:
    password = {"secretKeyRef": {"name": role["passwordSecret"]["name"], "key": "password"}}
    return [{"name": f"ROLE_{number}", "value": _role(role)}, {"name": f"PASSWORD_{number}", "valueFrom": password}]


def _postgresql_secrets(namespace: str, name: str, database: str, owner: str) -> Iterator[Manifest]:
    """What the operator writes for applications (pkg/specs/secrets.go) and by its authority (pkg/certs)."""
    host, password = f"{name}-rw", base64.b32encode(os.urandom(20)).decode()
    yield _secret(
        namespace,
        f"{name}-app",
        {
            "username": owner,
            "user": owner,
            "password": password,
            "dbname": database,
            "host": host,
            "port": "5432",
            "pgpass": f"{host}:5432:{database}:{owner}:{password}\n",
            "uri": f"postgresql://{owner}:{password}@{host}.{namespace}:5432/{database}",
        },
    )
    names = [
        f"{name}-{service}{suffix}"
        for service in ("rw", "r", "ro")
        for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    ]
    own = authority(f"authority of {name}")
    certificate, key = own.issue(*names)
    yield _secret(namespace, f"{name}-ca", {"ca.crt": own.certificate})
    yield _secret(namespace, f"{name}-server", {"tls.crt": certificate, "tls.key": key})


def replicates(objects: Sequence[Manifest]) -> bool:
    """Whether a database follows another: that takes PostgreSQL 17 or newer, which Debian's may not be."""
    return any(o["kind"] == "DatabaseRole" and o["spec"].get("replication") for o in objects)


def _postgresql_image(programs: Path) -> Image:
    inside = ROOT / ".tools" / "postgresql"
    return Image((str(inside),) if inside in programs.parents else (), (str(programs),))


# The MinIO operator: one server with all the drives of the tenant, or where MinIO has not been built, moto, which takes any key, and has no
# use for the Job that makes users and policies.


@cache
def minio_program() -> Path | None:
    """`$MINIO`, `.tools/minio/minio` or `minio` on the PATH."""
    candidates = (os.environ.get("MINIO"), str(ROOT / ".tools" / "minio" / "minio"), shutil.which("minio"))
    return next((Path(found) for found in candidates if found and os.access(found, os.X_OK)), None)


def _minio_image() -> Image:
    program = minio_program()
    assert program
    return Image((str(program.parent),), (str(program.parent),), aliases={"minio": str(program)})


def _silo() -> Image | None:
    """Its entry point puts the program's name in front of the arguments. Without MINIO_CI_CD drives on the machine's own disk are refused."""
    return evolve(_minio_image(), entrypoint=("minio",), environment={"MINIO_CI_CD": "1"}) if minio_program() else None


START_MOTO = """\
# Else it takes the first part of the host's name for a bucket.
export S3_IGNORE_SUBDOMAIN_BUCKETNAME=true
moto_server --host 0.0.0.0 --port 9000 &
python - "$@" <<EOF
import boto3, sys, time
from botocore.exceptions import EndpointConnectionError
s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:9000", region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
for name in sys.argv[1:]:
    while True:
        try:
            s3.create_bucket(Bucket=name)
            break
        except EndpointConnectionError:
            time.sleep(0.2)
EOF
touch /tmp/ready
wait
"""
"""A script of bash, with names of buckets as its arguments."""


def _object_storage(tenant: Manifest, operated: Sequence[Manifest], objects: Sequence[Manifest]) -> Iterator[Manifest]:
    namespace, name, spec = tenant["metadata"].get("namespace", "default"), tenant["metadata"]["name"], tenant["spec"]
    pool = spec["pools"][0]
    made = next(o for o in operated if o["metadata"]["name"] == f"{name}-{pool['name']}" and o["metadata"]["namespace"] == namespace)
    drives = pool["servers"] * pool["volumesPerServer"]
    container: dict[str, Any] = {
        "name": "minio",
        "ports": [{"name": "minio-port", "containerPort": 9000}],
        "securityContext": pool["containerSecurityContext"],
        "volumeMounts": [{"name": "data", "mountPath": spec["mountPath"]}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {}}]
    if minio_program():
        container |= {
            "image": "substitute/minio",
            "command": ["minio", "server", "--quiet", "--address", ":9000", f"{spec['mountPath']}/drive{{1...{drives}}}"],
            "env": [
                *spec["env"],
                {"name": "MINIO_CONFIG_ENV_FILE", "value": "/tmp/minio/config.env"},
                # Without this MinIO refuses drives on the file system of the machine itself (cmd/xl-storage.go).
                {"name": "MINIO_CI_CD", "value": "1"},
            ],
            "readinessProbe": {"httpGet": {"path": "/minio/health/cluster", "port": 9000}, "periodSeconds": 1, "timeoutSeconds": 5},
        }
        container["volumeMounts"].append({"name": "configuration", "mountPath": "/tmp/minio", "readOnly": True})
        volumes.append({"name": "configuration", "secret": {"secretName": spec["configuration"]["name"]}})
    else:
        container |= {
            "image": "substitute/moto",
            "command": ["/bin/bash", "-euc", START_MOTO, "start", *_buckets(namespace, objects)],
            "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1},
        }
    pod = {"containers": [container], "securityContext": pool["securityContext"], "terminationGracePeriodSeconds": 10, "volumes": volumes}
    labels = made["spec"]["template"]["metadata"]["labels"]
    yield _stateful_set(namespace, f"{name}-{pool['name']}", labels, pod, service=f"{name}-hl", claims=["data"])


def _buckets(namespace: str, objects: Sequence[Manifest]) -> list[str]:
    """The buckets that a Job of the namespace would make."""
    requests = [json.loads(o["data"]["request.json"]) for o in objects if o["kind"] == "ConfigMap" and "request.json" in o.get("data", {})]
    return [
        bucket["name"]
        for request in requests
        if f"minio.{namespace}." in request.get("endpoint", "")
        for bucket in request.get("buckets", ())
    ]


# --- objects ---


def _secret(namespace: str, name: str, values: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "stringData": values}


def _stateful_set(
    namespace: str, name: str, labels: Mapping[str, str], pod: Manifest, *, start: int = 0, service: str = "", claims: Sequence[str] = ()
) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 1,
            "serviceName": service,
            "ordinals": {"start": start},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"automountServiceAccountToken": False, **pod}},
            "volumeClaimTemplates": [{"metadata": {"name": claim}} for claim in claims],
        },
    }
