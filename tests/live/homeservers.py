"""Small single Synapse processes with people, media in S3 and, where a test needs it, federation among them over TLS on loopback."""

import base64
import hashlib
import hmac
import http.client
import json
import sqlite3
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from attrs import define, field

from main_instance.synapse.configuration import log_config
from tests.live.certificates import authority
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running
from tests.live.synapse_site import synapse_python

ROOT = Path(__file__).parents[2]
BUCKET = "media"
SHARED_SECRET = "registration-secret-of-the-test"


@define
class Homeserver:
    """A Synapse process. `port` is plain HTTP for clients, `federation_port` is TLS for other servers."""

    program: Program
    name: str
    folder: Path
    port: int
    metrics_port: int
    tokens: dict[str, str] = field(factory=dict)

    def request(
        self, method: str, path: str, body: bytes | None = None, user: str = "alice", content_type: str = "application/octet-stream"
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of an answer to a user."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=150)) as connection:
            token = {"Authorization": f"Bearer {self.tokens[user]}"} if user in self.tokens else {}
            connection.request(method, path, body, {**token, "Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read(), dict(response.headers)

    def upload(self, content: bytes, user: str = "alice") -> tuple[int, dict[str, Any]]:
        """Upload a file: the answer."""
        status, text, _ = self.request("POST", "/_matrix/media/v3/upload?filename=file", content, user)
        return status, json.loads(text)

    def download(self, uri: str, user: str = "alice") -> tuple[int, bytes]:
        """Download a file by its mxc:// address."""
        status, body, _ = self.request("GET", f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}", user=user)
        return status, body

    def register(self, user: str, admin: bool = False) -> None:
        """Make an account and log in."""
        path = "/_synapse/admin/v1/register"
        nonce = json.loads(self.request("GET", path)[1])["nonce"]
        password, role = f"{user}-has-a-password", "admin" if admin else "notadmin"
        mac = hmac.new(SHARED_SECRET.encode(), f"{nonce}\0{user}\0{password}\0{role}".encode(), hashlib.sha1).hexdigest()
        account = {"nonce": nonce, "username": user, "password": password, "admin": admin, "mac": mac}
        status, answer, _ = self.request("POST", path, json.dumps(account).encode(), content_type="application/json")
        assert status == 200, answer
        self.tokens[user] = json.loads(answer)["access_token"]

    def rows(self) -> set[str]:
        """The ids of all media that the database knows, local and remote."""
        with closing(sqlite3.connect(f"file:{self.folder}/homeserver.db?mode=ro", uri=True, timeout=20)) as database:
            tables = ("local_media_repository", "remote_media_cache")
            return {row[0] for table in tables for row in database.execute(f"SELECT media_id FROM {table}")}

    def files(self) -> set[str]:
        """The paths of all media files on disk."""
        media = self.folder / "media"
        return {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}

    def metric(self, line: str) -> float:
        """The value of one line of /metrics. Raises LookupError."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.metrics_port}/_synapse/metrics", timeout=20) as answer:
            for one in answer.read().decode().splitlines():
                if one.startswith(f"{line} "):
                    return float(one.rsplit(" ", 1)[1])
        raise LookupError(line)


@define
class ObjectStorage:
    """moto's S3."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def objects(self) -> set[str]:
        """The keys of all objects."""
        return {one["Key"] for one in self.client().list_objects_v2(Bucket=BUCKET).get("Contents", ())}

    def client(self) -> Any:
        """A client of boto3."""
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)


@contextmanager
def running_storage() -> Iterator[ObjectStorage]:
    """An S3 with the bucket."""
    (port,) = free_ports(1)
    with running([ROOT / ".venv-live" / "bin" / "moto_server", "-H", LOOPBACK, "-p", str(port)], name="moto") as moto:
        moto.ready(lambda: accepts_connections(port) or True, 60)
        storage = ObjectStorage(port)
        storage.client().create_bucket(Bucket=BUCKET)
        yield storage


def write_certificates(folder: Path) -> None:
    """An authority, and a certificate of it for localhost: `ca.pem`, `tls.pem`, `tls.key`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = authority("authority")
    certificate, key = own.issue("localhost")
    for name, text in {"ca.pem": own.certificate, "tls.pem": certificate, "tls.key": key}.items():
        (folder / name).write_text(text)


def homeserver_config(name: str, folder: str, listeners: Sequence[Mapping[str, Any]], certificates: str | None = None) -> dict[str, Any]:
    """`homeserver.yaml` of a single process with SQLite and its files in a folder. `certificates`: the folder of those for TLS."""
    config: dict[str, Any] = {
        "server_name": name,
        "report_stats": False,
        "pid_file": f"{folder}/pid",
        "log_config": f"{folder}/log.yaml",
        "signing_key_path": f"{folder}/signing.key",
        "media_store_path": f"{folder}/media",
        "database": {"name": "sqlite3", "args": {"database": f"{folder}/homeserver.db"}},
        "registration_shared_secret": SHARED_SECRET,
        "macaroon_secret_key": "macaroon-secret-of-the-test",
        "form_secret": "form-secret-of-the-test",
        "enable_metrics": True,
        "listeners": list(listeners),
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        "max_upload_size": "60M",
    }
    if certificates:
        config |= {
            "tls_certificate_path": f"{certificates}/tls.pem",
            "tls_private_key_path": f"{certificates}/tls.key",
            "federation_custom_ca_list": [f"{certificates}/ca.pem"],
        }
    return config


def signing_key(name: str) -> str:
    """The content of a signing key file: always the same for a name."""
    return f"ed25519 a_test {base64.b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip('=')}\n"


@contextmanager
def running_homeserver(
    folder: Path,
    *,
    modules: Sequence[Mapping[str, Any]] = (),
    storage: ObjectStorage | None = None,
    certificates: Path | None = None,
    more_listeners: Sequence[Mapping[str, Any]] = (),
    database: Mapping[str, Any] | None = None,
) -> Iterator[Homeserver]:
    """A Synapse with SQLite, or another database, and the users alice and admin.

    With certificates it federates: its name is localhost and its TLS port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, federation_port, metrics_port = free_ports(3)
    name = f"localhost:{federation_port}"
    listeners: list[dict[str, Any]] = [
        {"type": "http", "port": port, "bind_addresses": [LOOPBACK], "resources": [{"names": ["client", "media"]}]},
        {"type": "metrics", "port": metrics_port, "bind_addresses": [LOOPBACK]},
        *map(dict, more_listeners),
    ]
    if certificates:
        listeners.append(
            {"type": "http", "port": federation_port, "bind_addresses": [LOOPBACK], "tls": True, "resources": [{"names": ["federation"]}]}
        )
    (folder / "log.yaml").write_text(yaml.safe_dump(log_config(structured=False)))
    config = homeserver_config(name, str(folder), listeners, str(certificates) if certificates else None) | {"modules": list(modules)}
    config |= {"database": dict(database)} if database else {}
    if storage:
        config["media_storage_providers"] = [
            {
                "module": "s3_storage_provider.S3StorageProviderBackend",
                "store_local": True,
                "store_remote": True,
                "store_synchronous": True,
                "config": {
                    "bucket": BUCKET,
                    "endpoint_url": storage.endpoint,
                    "region_name": "us-east-1",
                    "access_key_id": "key",
                    "secret_access_key": "secret",
                },
            }
        ]
    (folder / "homeserver.yaml").write_text(yaml.safe_dump(config))
    python = synapse_python()
    generate = [python, "-m", "synapse.app.homeserver", "-c", str(folder / "homeserver.yaml")]
    (folder / "signing.key").write_text(signing_key(name))
    with running(generate, name=f"synapse-{folder.name}", folder=folder, environment={"PYTHONPATH": str(ROOT)}) as started:
        server = Homeserver(started, name, folder, port, metrics_port)
        started.ready(lambda: server.request("GET", "/health")[0] == 200, 120)
        server.register("alice")
        server.register("admin", admin=True)
        yield server
