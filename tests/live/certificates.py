"""A private authority of the tests, and certificates by it."""

import datetime
from collections.abc import Sequence

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM
_OF_AN_AUTHORITY = (x509.BasicConstraints(ca=True, path_length=None),)


@frozen
class Authority:
    """Whom programs are told to trust. `certificate`: its own, in PEM."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: str

    def issue(self, *hosts: str) -> tuple[str, str]:
        """A certificate for these hosts and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        made = _certificate(self, _name(hosts[0]), key.public_key(), (names,))
        return made, _text(key)

    def person(self, name: str) -> str:
        """The certificate of somebody and its key, one after the other in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return _certificate(self, _name(name), key.public_key(), (usage,)) + _text(key)

    def below(self, name: str) -> "Authority":
        """Another one, which this one vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Authority(_name(name), key, _certificate(self, _name(name), key.public_key(), _OF_AN_AUTHORITY))


def authority(name: str) -> Authority:
    """A new one, for a day."""
    bare = Authority(_name(name), ec.generate_private_key(ec.SECP256R1()), "")
    own = _certificate(bare, bare.name, bare.key.public_key(), _OF_AN_AUTHORITY)
    return Authority(bare.name, bare.key, own)


def _text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _certificate(by: Authority, subject: x509.Name, key: ec.EllipticCurvePublicKey, extensions: Sequence[x509.ExtensionType]) -> str:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(by.name, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(by.key, hashes.SHA256()).public_bytes(_PEM).decode()
