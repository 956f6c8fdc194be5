"""An identity provider that speaks SAML: its key, and what it says of itself."""

import base64
from datetime import UTC, datetime, timedelta

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@frozen
class SamlProvider:
    """`entity`: its id. `url`: its page. `certificate` and `key`, of its signatures: PEM."""

    entity: str
    url: str
    certificate: str
    key: str

    @property
    def metadata(self) -> str:
        """Its metadata, as a provider hands it out."""
        der = x509.load_pem_x509_certificate(self.certificate.encode()).public_bytes(serialization.Encoding.DER)
        return (
            f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.entity}">'
            '<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>'
            f"{base64.b64encode(der).decode()}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            f'<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{self.url}"/>'
            "</IDPSSODescriptor></EntityDescriptor>"
        )


def saml_provider(entity: str, url: str) -> SamlProvider:
    """With a key of its own."""
    key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, entity)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number()).not_valid_before(
        datetime.now(UTC) - timedelta(1)
    )
    signed = made.not_valid_after(datetime.now(UTC) + timedelta(30)).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return SamlProvider(entity, url, signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode())
