"""How each kind of key is made and checked: the same code in the cluster's Job and on the machine of an operator.

It needs the standard library, and signedjson and cryptography, which Synapse itself depends on: so it runs in Synapse's image.
Nothing here prints, and no exception carries a value.

A recipe is the JSON object of the request file. The forms are those that the `match` statements below name.
"""

import io
import re
import secrets
import string
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

Recipe: TypeAlias = Mapping[str, Any]

_PLAIN = re.compile(rb"[A-Za-z0-9._~-]+")


class RecipeError(Exception):
    """A recipe that this program does not know, or a value that did not stand its own check."""


@frozen
class Completion:
    """What a Secret still needs: `added` are values to add by key, `missing` and `faults` say why by key.

    A key is missing when something else has to come first; a fault is a value that is there and cannot be right.
    """

    added: Mapping[str, bytes]
    missing: Mapping[str, str]
    faults: Mapping[str, str]


def complete(keys: Mapping[str, Recipe], present: Mapping[str, bytes], sources: Mapping[str, bytes | None]) -> Completion:
    """Make every key that is not `present`, and check those that are. A present value is never replaced.

    `sources` holds, for each copied and shared key, the value at its source, or None while there is none.
    Raises RecipeError for a recipe of an unknown form.
    """
    added: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    faults: dict[str, str] = {}
    for key, recipe in sorted(keys.items(), key=lambda item: item[1].get("recipe") == "composed"):
        value = present.get(key)
        expected: bytes | None = None
        match recipe:
            case {"recipe": "given", "description": str(description)}:
                if value is None:
                    missing[key] = description
            case {"recipe": "copied" | "shared" as how, "source": {"namespace": str(space), "secret": str(name), "key": str(origin)}}:
                expected = sources.get(key)
                if value is None and expected is None:
                    missing[key] = f"is {how} from {space}/{name}:{origin}, which is not there"
            case {"recipe": "composed", "parts": [*parts]}:
                try:
                    expected = b"".join(_part(part, {**present, **added}) for part in parts)
                except KeyError as error:
                    if value is None:
                        missing[key] = f"is composed of {error.args[0]}, which is not there"
            case {"recipe": "fixed", "value": str(text)}:
                expected = text.encode()
            case _:
                expected = make(recipe) if value is None else None
        if value is None:
            if expected is not None:
                added[key] = expected
        elif flaw := _flaw(recipe, value, expected):
            faults[key] = flaw
    return Completion(added, missing, faults)


def make(recipe: Recipe) -> bytes:
    """A new value. Raises RecipeError for a recipe that does not make one."""
    match recipe:
        case {"recipe": "random-text", "length": int(length), "alphabet": str(alphabet)} if length > 0 and alphabet:
            return "".join(secrets.choice(alphabet) for _ in range(length)).encode()
        case {"recipe": "synapse-signing-key"}:
            return _signing_key()
        case {"recipe": "rsa-private-key", "bits": int(bits)}:
            return _rsa_private_key(bits)
    raise RecipeError(f"unknown recipe {recipe.get('recipe')!r}")


def _part(part: str | Mapping[str, str], values: Mapping[str, bytes]) -> bytes:
    return part.encode() if isinstance(part, str) else values[part["key"]]


def _flaw(recipe: Recipe, value: bytes, expected: bytes | None) -> str | None:
    """What is wrong with a value that is there, without telling the value."""
    if not value:
        return "is empty"
    match recipe:
        case {"recipe": "fixed" | "copied" | "shared" | "composed" as how} if expected is not None and value != expected:
            return {
                "fixed": "is not the value that the platform's configuration names",
                "copied": "differs from its source",
                "shared": "differs from its source",
                "composed": "does not agree with the keys that it is composed of",
            }[how]
        case {"recipe": "synapse-signing-key"} if not _signs(value):
            return "is not a signing key that Synapse can read"
        case {"recipe": "rsa-private-key"} if not _is_rsa_private_key(value):
            return "is not an RSA private key"
        case {"recipe": "given", "form": "line"} if b"\n" in value:
            return "has a line feed, which its program would take for a part of it; give it without one, e.g. by `printf %s`"
        case {"recipe": "given", "form": "plain"} if not _PLAIN.fullmatch(value):
            return "has other characters than letters, digits and . _ ~ -, or a line feed; give another one, e.g. by `printf %s`"
        case {"recipe": "given", "form": "rsa-public-key"} if b"PRIVATE KEY" in value:
            return "holds a private key, which must never be in the cluster; give the public key"
        case {"recipe": "given", "form": "rsa-public-key"} if not _is_rsa_public_key(value):
            return "is not an RSA public key in PEM"
    return None


def _signing_key() -> bytes:
    from signedjson.key import generate_signing_key, write_signing_keys

    # The id is random as in Synapse's own generate_signing_key: an id that came back with another key would be refused by every
    # server that remembers the first one.
    key = generate_signing_key("a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4)))
    stream = io.StringIO()
    write_signing_keys(stream, (key,))
    line = stream.getvalue().encode()
    if not _signs(line):
        raise RecipeError("signedjson does not read the signing key that it has made")
    return line


def _signs(lines: bytes) -> bool:
    """Whether Synapse can read this file of signing keys, and each key signs what its public half verifies."""
    from signedjson.key import get_verify_key, read_signing_keys
    from signedjson.sign import sign_json, verify_signed_json

    try:
        # Lines as in synapse/config/key.py, read_signing_keys.
        keys = read_signing_keys([line for line in lines.decode().splitlines() if line.strip()])
        for key in keys:
            signed = sign_json({"proof": "of this key"}, "example.org", key)
            verify_signed_json(signed, "example.org", get_verify_key(key))
    except Exception:  # the libraries raise what comes up: ValueError, binascii.Error, nacl's own
        return False
    return bool(keys)


def _rsa_private_key(bits: int) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if not _is_rsa_private_key(pem):
        raise RecipeError("cryptography does not read the RSA key that it has made")
    return pem


def _is_rsa_private_key(pem: bytes) -> bool:
    """Whether this is an RSA private key without a passphrase, and signs what its public half verifies."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            return False
        signature = key.sign(b"proof", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"proof", padding.PKCS1v15(), hashes.SHA256())
    except Exception:  # ValueError, TypeError (encrypted), UnsupportedAlgorithm, InvalidSignature
        return False
    return True


def _is_rsa_public_key(pem: bytes) -> bool:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        return isinstance(serialization.load_pem_public_key(pem), rsa.RSAPublicKey)
    except Exception:  # ValueError, UnsupportedAlgorithm
        return False
