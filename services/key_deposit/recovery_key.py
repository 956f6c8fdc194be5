"""Recovery keys of Matrix's secret storage: their written form, and whether one fits an account.

https://spec.matrix.org/v1.16/client-server-api/#secret-storage ("Key representation" and "m.secret_storage.v1.aes-hmac-sha2").
"""

import base64
import hmac
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALGORITHM = "m.secret_storage.v1.aes-hmac-sha2"

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PREFIX = b"\x8b\x01"
_KEY_BYTES = 32
_LONGEST = 128


def decode(text: str) -> bytes:
    """The 32 bytes of a recovery key as people are shown it. Raises ValueError, which never quotes it, for anything else."""
    digits = "".join(text.split())
    if not 0 < len(digits) <= _LONGEST or not set(digits) <= set(_ALPHABET):
        raise ValueError("is not a recovery key: those are base58")
    number = 0
    for digit in digits:
        number = 58 * number + _ALPHABET.index(digit)
    raw = number.to_bytes(_LONGEST, "big").lstrip(b"\0")
    parity = 0
    for byte in raw:
        parity ^= byte
    if len(raw) != len(_PREFIX) + _KEY_BYTES + 1 or not raw.startswith(_PREFIX) or parity:
        raise ValueError("is not a recovery key: a character is wrong or missing")
    return raw[len(_PREFIX) : -1]


def encode(key: bytes) -> str:
    """The written form of 32 bytes, in groups of four characters."""
    raw = _PREFIX + key
    parity = 0
    for byte in raw:
        parity ^= byte
    number, digits = int.from_bytes(raw + bytes([parity]), "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def fits(key: bytes, description: Mapping[str, Any]) -> bool:
    """Whether these bytes are the secret storage key that an account's data describes (`m.secret_storage.key.<id>`)."""
    iv, mac = description.get("iv"), description.get("mac")
    if description.get("algorithm") != ALGORITHM or not isinstance(iv, str) or not isinstance(mac, str):
        return False
    try:
        expected = _base64(mac)
        return hmac.compare_digest(_mac(key, _base64(iv)), expected)
    except ValueError:
        return False


def describe(key: bytes, iv: bytes) -> dict[str, str]:
    """The account data that describes a key, as a client writes it. `iv`: 16 bytes."""
    return {
        "algorithm": ALGORITHM,
        "iv": base64.b64encode(iv).decode("ascii").rstrip("="),
        "mac": base64.b64encode(_mac(key, iv)).decode("ascii").rstrip("="),
    }


def _mac(key: bytes, iv: bytes) -> bytes:
    """The code over 32 zero bytes that have been encrypted with the key. Raises ValueError unless `iv` has 16 bytes."""
    derived = HKDF(algorithm=hashes.SHA256(), length=64, salt=bytes(32), info=b"").derive(key)
    encryptor = Cipher(algorithms.AES(derived[:32]), modes.CTR(iv)).encryptor()
    return hmac.digest(derived[32:], encryptor.update(bytes(32)) + encryptor.finalize(), "sha256")


def _base64(text: str) -> bytes:
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
