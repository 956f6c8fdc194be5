"""The cluster's authority, the certificates of its programs, and the files by which they find the API server."""

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 30


@frozen(eq=False)
class Authority:
    """Signs certificates; `folder` has `ca.crt`, `ca.key`, what it has signed, and the pair that signs tokens of service accounts."""

    folder: Path
    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """A new one."""
        folder.mkdir(mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("cluster-of-the-tests", ())
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        _write_pair(folder / "ca", key, certificate)
        signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_key(folder / "service-accounts.key", signer)
        public = signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / "service-accounts.pub").write_bytes(public)
        return cls(folder, key, certificate)

    def sign(self, file: str, common_name: str, organizations: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Write `<file>.crt` and `<file>.key`, for a server of these names and addresses, or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(common_name, organizations), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        _write_pair(self.folder / file, key, builder.sign(self._key, hashes.SHA256()))

    def kubeconfig(self, file: str, server: str, to: Path) -> None:
        """Write a kubeconfig for the owner of a certificate."""
        cluster = {"server": server, "certificate-authority-data": _base64(self.folder / "ca.crt")}
        user = {"client-certificate-data": _base64(self.folder / f"{file}.crt"), "client-key-data": _base64(self.folder / f"{file}.key")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": file, "user": user}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": file}}],
            "current-context": "cluster",
        }
        to.touch(mode=0o600)
        to.write_text(json.dumps(document))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return x509.CertificateBuilder(
        issuer,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - datetime.timedelta(hours=1),
        now + datetime.timedelta(days=_DAYS),
    )


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_pair(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_key(path.with_suffix(".key"), key)
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
