"""A recovery key as ciphertext for the authority's RSA public key: a JSON Web Encryption in compact form (RFC 7516).

The content key is fresh for each envelope and encrypted with RSA-OAEP-256; the content is encrypted with AES-256-GCM. Whose key it is and for
whom it is encrypted stand in the protected header, which the authentication tag covers: an envelope that is filed under another user does not open.
"""

import base64
import hashlib
import json
import os
import re
from typing import Any

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TYPE, VERSION = "matrix-recovery-key", 1
SMALLEST_RSA_BITS = 3072
"""128 bits of security (NIST SP 800-57 part 1, table 2)."""
LONGEST_ENVELOPE = 8192
"""Characters. An envelope of a recovery key for an RSA key of 16384 bits has about 4,300."""

_CONTENT_KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 12, 16
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
_FIXED_HEADER = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": TYPE, "v": VERSION}
_HEADER_KEYS = {*_FIXED_HEADER, "iat", "kid", "ssk", "sub"}
_USER_ID = re.compile(r"@[!-9;-~]+:[A-Za-z0-9.\[\]:-]+")
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_PEM_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@frozen
class AuthorityKey:
    """The authority's public key. `id`: SHA-256 of its DER form (SubjectPublicKeyInfo), in hexadecimal."""

    id: str
    key: rsa.RSAPublicKey


@frozen
class Envelope:
    """What an envelope says of itself, and itself. `secret_storage_key_id`: the id of the secret storage key that the recovery key is."""

    user_id: str
    secret_storage_key_id: str
    authority_key_id: str
    sealed_at: int
    compact: str

    @property
    def sha256(self) -> str:
        """The digest of the compact form, in hexadecimal."""
        return hashlib.sha256(self.compact.encode("ascii")).hexdigest()


def authority_key(key: rsa.RSAPublicKey) -> AuthorityKey:
    """Name a public key by its digest: `openssl pkey -pubin -in FILE -outform DER | sha256sum` prints the same."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return AuthorityKey(hashlib.sha256(der).hexdigest(), key)


def read_authority_keys(pem: bytes) -> tuple[AuthorityKey, ...]:
    """The public keys of a PEM file; the first is the one to encrypt for, others are those before it.

    Raises ValueError, which never quotes the file, for a private key, for none, for one that is not RSA, and for one that is too short.
    """
    if b"PRIVATE KEY" in pem:
        raise ValueError("holds a private key, which must never come near the cluster; give the public key (openssl pkey -pubout)")
    blocks = _PEM_PUBLIC_KEY.findall(pem)
    if not blocks:
        raise ValueError("holds no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    keys = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError:
            raise ValueError("holds a public key that cannot be read") from None
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("holds a public key that is not RSA")
        if key.key_size < SMALLEST_RSA_BITS:
            raise ValueError(f"holds an RSA key of {key.key_size} bits; it needs {SMALLEST_RSA_BITS} or more")
        keys.append(authority_key(key))
    return tuple(keys)


def seal(recovery_key: str, key: AuthorityKey, *, user_id: str, secret_storage_key_id: str, sealed_at: int) -> Envelope:
    """Encrypt a recovery key for the authority. `sealed_at`: seconds since 1970. Raises ValueError for a user id that is none."""
    if not _USER_ID.fullmatch(user_id):
        raise ValueError("is no user id")
    header = {**_FIXED_HEADER, "iat": sealed_at, "kid": key.id, "ssk": secret_storage_key_id, "sub": user_id}
    protected = _encode(_dump(header))
    content_key, nonce = AESGCM.generate_key(8 * _CONTENT_KEY_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCM(content_key).encrypt(nonce, recovery_key.encode("utf-8"), protected.encode("ascii"))
    parts = key.key.encrypt(content_key, _OAEP), nonce, sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
    return Envelope(user_id, secret_storage_key_id, key.id, sealed_at, ".".join([protected, *map(_encode, parts)]))


def parse(compact: str) -> Envelope:
    """Read an envelope without opening it. Raises ValueError, which never quotes it, for anything that `seal` does not make."""
    if len(compact) > LONGEST_ENVELOPE:
        raise ValueError(f"is longer than {LONGEST_ENVELOPE} characters")
    parts = compact.split(".")
    if len(parts) != 5:
        raise ValueError("is not a JSON Web Encryption in compact form")
    protected, encrypted_key, nonce, content, tag = map(_decode, parts)
    header = _header(protected)
    if 8 * len(encrypted_key) < SMALLEST_RSA_BITS or len(nonce) != _NONCE_BYTES or not content or len(tag) != _TAG_BYTES:
        raise ValueError("has parts of the wrong length")
    return Envelope(header["sub"], header["ssk"], header["kid"], header["iat"], compact)


def open_envelope(compact: str, private_key: rsa.RSAPrivateKey) -> str:
    """The recovery key in an envelope, for the authority. Raises ValueError when the envelope is not for this key or has been changed."""
    envelope = parse(compact)
    if envelope.authority_key_id != authority_key(private_key.public_key()).id:
        raise ValueError("is for another key")
    protected, encrypted_key, nonce, content, tag = compact.split(".")
    try:
        content_key = private_key.decrypt(_decode(encrypted_key), _OAEP)
        return AESGCM(content_key).decrypt(_decode(nonce), _decode(content) + _decode(tag), protected.encode("ascii")).decode("utf-8")
    except (ValueError, InvalidTag):
        raise ValueError("does not open: it has been changed") from None


def _header(protected: bytes) -> dict[str, Any]:
    try:
        header = json.loads(protected)
    except (ValueError, RecursionError):
        raise ValueError("has a header that is not JSON") from None
    # Written again it must be the same bytes: so no key stands there twice, and nothing can be read in two ways.
    if not isinstance(header, dict) or header.keys() != _HEADER_KEYS or _dump(header) != protected:
        raise ValueError("has a header of another form")
    if any(header[key] != value or isinstance(header[key], bool) for key, value in _FIXED_HEADER.items()):
        raise ValueError(f"is not a {TYPE} of version {VERSION} with RSA-OAEP-256 and A256GCM")
    if not (isinstance(header["sub"], str) and len(header["sub"]) <= 255 and _USER_ID.fullmatch(header["sub"])):
        raise ValueError("names no user")
    if not (isinstance(header["kid"], str) and _KEY_ID.fullmatch(header["kid"])):
        raise ValueError("names no authority key")
    if not (isinstance(header["ssk"], str) and 0 < len(header["ssk"]) <= 255 and header["ssk"].isprintable()):
        raise ValueError("names no secret storage key")
    if type(header["iat"]) is not int or not 0 <= header["iat"] < 2**40:
        raise ValueError("does not say when it was sealed")
    return header


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
    except (ValueError, RecursionError):
        return b""


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ValueError("is not base64url") from None
    if _encode(raw) != text:
        raise ValueError("is not base64url in its only form")
    return raw
