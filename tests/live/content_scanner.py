"""A real matrix-content-scanner with our script, and encrypted attachments and requests as clients make them."""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antivirus.content_scanner.configuration import settings
from tests.live.antivirus import ROOT, TOKEN
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running
from tests.live.programs import chosen


def unpadded(data: bytes, urlsafe: bool = False) -> str:
    return (base64.urlsafe_b64encode(data) if urlsafe else base64.b64encode(data)).decode().rstrip("=")


def encrypt(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """An attachment as clients encrypt it (Client-Server API, 11.12.1.7): the ciphertext, and the `file` of its event without the address."""
    key, iv = os.urandom(32), os.urandom(8) + bytes(8)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    ciphertext = encryptor.update(content) + encryptor.finalize()
    jwk = {"alg": "A256CTR", "ext": True, "k": unpadded(key, urlsafe=True), "key_ops": ["encrypt", "decrypt"], "kty": "oct"}
    return ciphertext, {"v": "v2", "iv": unpadded(iv), "key": jwk, "hashes": {"sha256": unpadded(hashlib.sha256(ciphertext).digest())}}


def decrypt(ciphertext: bytes, file: dict[str, Any]) -> bytes:
    """What an attachment holds."""
    key, iv = base64.urlsafe_b64decode(file["key"]["k"] + "="), base64.b64decode(file["iv"] + "==")
    decryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def sealed(body: dict[str, Any], public_key: str) -> dict[str, Any]:
    """A request that the scanner alone can read: libolm's PkEncryption (m.megolm_backup.v1.curve25519-aes-sha2), MAC of nothing included."""
    own, theirs = X25519PrivateKey.generate(), X25519PublicKey.from_public_bytes(base64.b64decode(public_key + "="))
    keys = HKDF(hashes.SHA256(), 80, bytes(32), b"").derive(own.exchange(theirs))
    padder = padding.PKCS7(128).padder()
    text = padder.update(json.dumps(body).encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(keys[:32]), modes.CBC(keys[64:])).encryptor()
    public = own.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {
        "encrypted_body": {
            "ciphertext": unpadded(encryptor.update(text) + encryptor.finalize()),
            "mac": unpadded(hmac.new(keys[32:64], b"", hashlib.sha256).digest()[:8]),
            "ephemeral": unpadded(public),
        }
    }


def scanner_python() -> str:
    """The Python that has matrix-content-scanner; without one, skip the test and say how to get it."""
    folder = ROOT / ".tools" / "content-scanner"
    built = [folder / "bin" / "python"] if (folder / ".done").exists() else []
    get = "matrix-content-scanner, which Rust builds in five minutes or more: make content-scanner"
    return chosen("CONTENT_SCANNER_PYTHON", built, get)


@contextmanager
def running_scanner(folder: Path, homeserver: str, scan_worker: str) -> Iterator[tuple[Program, int]]:
    """matrix-content-scanner with the settings that the platform renders; the process and its port."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "token").write_text(TOKEN)
    (folder / "key").write_text(base64.b64encode(os.urandom(32)).decode())
    (port,) = free_ports(1)
    config = settings(homeserver) | {
        "web": {"host": LOOPBACK, "port": port},
        "scan": {"script": str(ROOT / "services" / "content_scanner" / "scan.py"), "temp_directory": str(folder / "tmp")},
        "crypto": {"request_secret_path": str(folder / "key")},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    environment = {"SCAN_WORKER_URL": scan_worker, "SCAN_WORKER_TOKEN_FILE": str(folder / "token"), "SCAN_WORKER_SECONDS": "30"}
    command: list[str | Path] = [scanner_python(), "-m", "matrix_content_scanner.mcs", "-c", folder / "config.yaml"]
    with running(command, name="content-scanner", environment=environment, folder=folder) as scanner:
        scanner.ready(lambda: accepts_connections(port) or True, 60)
        yield scanner, port
