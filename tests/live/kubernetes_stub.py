"""A stand-in for the Kubernetes API server, as far as Secrets go: TLS, tokens, the rights of a Role, and the API's rules for conflicts.

It allows what RBAC would allow by the rules it is given (`create` is never bound to a name), refuses all else with 403, and keeps a log.
A patch that names a `resourceVersion` is refused with 409 when the object has another one, as the API server does
(k8s.io/apiserver, pkg/registry/generic/registry/store.go, Update). Faults of the network and of the server can be planned per request.
"""

import base64
import binascii
import contextlib
import datetime
import http.server
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.live.processes import LOOPBACK

if TYPE_CHECKING:
    from infrastructure.secret_provider.providers import Rule

TOKEN = "token-of-the-service-account"


class Fault(Enum):
    """What can happen to a request. `AFTER`: the server has done what was asked, and the caller does not learn of it."""

    HANG_UP = "hangs up before it has read the request"
    HANG_UP_AFTER = "does it, and hangs up"
    HALF_ANSWER_AFTER = "does it, and hangs up in the middle of the answer"
    NO_JSON = "answers 200 with something else than JSON"
    ERROR = "answers 500"
    ERROR_AFTER = "does it, and answers 504"
    INVALID = "answers 422"
    BUSY = "answers 429 and asks for a pause"
    SILENCE = "never answers"
    DRIP = "answers one byte at a time"


@frozen
class Request:
    """One request as the server saw it. `at` is a time of `time.monotonic()`."""

    method: str
    namespace: str
    name: str | None
    status: int
    at: float
    body: Any


Plan = Callable[[int, str, str], Fault | None]
"""From the number of a request (counted from 0), its method and its path to what happens to it."""


@define
class Cluster:
    """The state of the stub: Secrets by namespace and name, and what may go wrong."""

    namespaces: set[str]
    rules: "Sequence[Rule]" = ()
    tokens: set[str] = field(factory=lambda: {TOKEN})
    objects: dict[tuple[str, str], dict[str, Any]] = field(factory=dict)
    log: list[Request] = field(factory=list)
    faults: Plan = field(default=lambda _number, _method, _path: None)
    delay: float = 0.0
    """How long each answer takes: room for two programs to meet."""
    deny: bool = False
    """An admission webhook refuses every write, and quotes the whole object."""
    received: int = 0
    version: int = 100
    lock: threading.RLock = field(factory=threading.RLock)
    stopped: threading.Event = field(factory=threading.Event)

    def put(self, namespace: str, name: str, data: dict[str, bytes], **metadata: Any) -> None:
        """Put a Secret there as somebody else would."""
        with self.lock:
            self.version += 1
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            meta = {"name": name, "namespace": namespace, "resourceVersion": str(self.version), **metadata}
            immutable = {"immutable": True} if meta.pop("immutable", False) else {}
            self.objects[namespace, name] = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": meta,
                "type": "Opaque",
                "data": encoded,
                **immutable,
            }

    def remove_key(self, namespace: str, name: str, key: str) -> None:
        """Take a key out, as the documented command does."""
        with self.lock:
            self.version += 1
            del self.objects[namespace, name]["data"][key]
            self.objects[namespace, name]["metadata"]["resourceVersion"] = str(self.version)

    def values(self, namespace: str, name: str) -> dict[str, bytes]:
        """The values of a Secret."""
        return {key: base64.b64decode(value) for key, value in self.objects[namespace, name].get("data", {}).items()}

    def writes(self) -> list[Request]:
        """The requests that were to change something."""
        return [request for request in self.log if request.method != "GET"]

    def allows(self, verb: str, namespace: str, name: str | None) -> bool:
        """Whether the rules allow it, read as the RBAC authorizer does."""
        return any(
            rule.namespace == namespace
            and verb in rule.verbs
            and (not rule.names or (name is not None and verb != "create" and name in rule.names))
            for rule in self.rules
        )

    def answer(self, method: str, path: str, content_type: str, token: str, body: bytes) -> tuple[int, Any]:
        """Do what a request asks. Returns the status and the JSON of the answer."""
        found = re.fullmatch(r"/api/v1/namespaces/([^/?]+)/secrets(?:/([^/?]+))?(?:\?.*)?", path)
        if not found:
            return 404, _status(404, "NotFound", path)
        namespace, name = found[1], found[2]
        try:
            document = json.loads(body) if body else None
        except ValueError:
            return 400, _status(400, "BadRequest", "not JSON")
        with self.lock:
            status, answer = self._do(method, namespace, name, content_type, token, document)
            self.log.append(
                Request(method, namespace, name or ((document or {}).get("metadata") or {}).get("name"), status, time.monotonic(), document)
            )
        return status, answer

    def _do(self, method: str, namespace: str, name: str | None, content_type: str, token: str, document: Any) -> tuple[int, Any]:
        if token not in self.tokens:
            return 401, _status(401, "Unauthorized", "Unauthorized")
        verb = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}[method]
        if not self.allows(verb, namespace, name):
            return 403, _status(403, "Forbidden", f"cannot {verb} secrets in {namespace}")
        if self.deny and method != "GET":
            return 403, _status(403, "Forbidden", f'admission webhook "policy" denied the request: {json.dumps(document)}')
        if method == "GET":
            stored = self.objects.get((namespace, name or ""))
            return (200, stored) if stored else (404, _status(404, "NotFound", f"secrets {name!r} not found"))
        if method == "POST":
            return self._create(namespace, content_type, document)
        return self._patch((namespace, name or ""), content_type, document)

    def _create(self, namespace: str, content_type: str, document: Any) -> tuple[int, Any]:
        if content_type != "application/json":
            return 415, _status(415, "UnsupportedMediaType", content_type)
        if namespace not in self.namespaces:
            return 404, _status(404, "NotFound", f"namespaces {namespace!r} not found")
        metadata = document["metadata"]
        if document["apiVersion"] != "v1" or document["kind"] != "Secret" or metadata["namespace"] != namespace:
            return 400, _status(400, "BadRequest", "another object than the path says")
        if not _well_formed(document.get("data")):
            return 422, _status(422, "Invalid", "data")
        key = (namespace, metadata["name"])
        if key in self.objects:
            return 409, _status(409, "AlreadyExists", f"secrets {key[1]!r} already exists")
        self.version += 1
        self.objects[key] = {**document, "metadata": {**metadata, "uid": f"uid-{self.version}", "resourceVersion": str(self.version)}}
        return 201, self.objects[key]

    def _patch(self, key: tuple[str, str], content_type: str, document: Any) -> tuple[int, Any]:
        if content_type != "application/merge-patch+json":
            return 415, _status(415, "UnsupportedMediaType", content_type)
        stored = self.objects.get(key)
        if stored is None:
            return 404, _status(404, "NotFound", f"secrets {key[1]!r} not found")
        if (
            document.get("metadata", {}).get("resourceVersion", stored["metadata"]["resourceVersion"])
            != stored["metadata"]["resourceVersion"]
        ):
            return 409, _status(409, "Conflict", "the object has been modified")
        if stored.get("immutable") or not _well_formed(document.get("data")):
            return 422, _status(422, "Invalid", "data")
        self.version += 1
        metadata = {**stored["metadata"], "resourceVersion": str(self.version)}
        self.objects[key] = {**stored, "data": {**stored.get("data", {}), **document.get("data", {})}, "metadata": metadata}
        return 200, self.objects[key]


def _well_formed(data: Any) -> bool:
    try:
        return all(
            re.fullmatch(r"[-._a-zA-Z0-9]+", key) and base64.b64decode(value, validate=True) is not None for key, value in data.items()
        )
    except (AttributeError, TypeError, binascii.Error):
        return False


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster
    tls: ssl.SSLContext

    def setup(self) -> None:
        # The handshake is made here, in the thread of the connection, so that a slow caller holds up no other.
        self.request.settimeout(20)
        self.request = self.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def _serve(self) -> None:
        cluster = self.cluster
        with cluster.lock:
            number = cluster.received
            cluster.received += 1
        fault = cluster.faults(number, self.command, self.path)
        if fault in (Fault.HANG_UP, Fault.SILENCE):
            if fault is Fault.SILENCE:
                cluster.stopped.wait(60)
            return self._hang_up()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is Fault.ERROR:
            return self._send(500, b'{"kind":"Status"}')
        if fault is Fault.INVALID:
            return self._send(422, b'{"kind":"Status"}')
        if fault is Fault.BUSY:
            return self._send(429, b'{"kind":"Status"}', {"Retry-After": "1"})
        if fault is Fault.NO_JSON:
            return self._send(200, b"<html>starting</html>")
        cluster.stopped.wait(cluster.delay)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        status, answer = cluster.answer(self.command, self.path, self.headers.get("Content-Type") or "", token, body)
        cluster.stopped.wait(cluster.delay)
        text = json.dumps(answer).encode()
        match fault:
            case Fault.HANG_UP_AFTER:
                return self._hang_up()
            case Fault.ERROR_AFTER:
                return self._send(504, b"upstream timed out")
            case Fault.HALF_ANSWER_AFTER:
                self._send(status, text, shown=len(text) // 2)
                return self._hang_up()
            case Fault.DRIP:
                return self._send(status, text, pause=0.5)
            case _:
                return self._send(status, text)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _send(self, status: int, text: bytes, headers: dict[str, str] | None = None, shown: int | None = None, pause: float = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if not pause:
            self.wfile.write(text[:shown])
        for byte in text if pause else b"":
            self.wfile.write(bytes([byte]))
            if self.cluster.stopped.wait(pause):
                break

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the log of the cluster has it."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that hang up, or do not trust us."""


@contextlib.contextmanager
def serving(cluster: Cluster, certificate: Path, port: int = 0, address: str = LOOPBACK) -> Iterator[int]:
    """Serve the cluster on an address with a certificate (PEM, key included). Yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = type("Handler", (_Handler,), {"cluster": cluster, "tls": context})
    server = _Server((address, port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        cluster.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def make_certificates(folder: Path, address: str = LOOPBACK) -> None:
    """Make an authority (`ca.crt`) and a server certificate by it for an address (`server.pem`, with its key).

    Without the extensions that identify keys, like those of older clusters.
    """
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("kubernetes", "kube-apiserver")}
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in keys}

    def certificate(name: str, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder(names["kubernetes"], names[name], keys[name].public_key(), x509.random_serial_number())
        valid = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        return valid.add_extension(extension, critical=False).sign(keys["kubernetes"], hashes.SHA256())

    authority = certificate("kubernetes", x509.BasicConstraints(ca=True, path_length=None))
    server = certificate("kube-apiserver", x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]))
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        server.public_bytes(pem)
        + keys["kube-apiserver"].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
