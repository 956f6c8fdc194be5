"""Envelopes: what is sealed opens with the authority's key alone, as it was, and nothing else is taken for an envelope."""

import base64
import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from Crypto.Cipher import AES
from Crypto.Hash import HMAC, SHA256
from Crypto.Protocol.KDF import HKDF
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwe import JWERegistry
from joserfc.jwk import RSAKey

from services.key_deposit import open as open_command
from services.key_deposit import recovery_key
from services.key_deposit.envelope import AuthorityKey, Envelope, authority_key, open_envelope, parse, read_authority_keys, seal

USER = "@mallory:example.org"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@cache
def private_key(name: str, bits: int = 3072) -> rsa.RSAPrivateKey:  # noqa: ARG001  # the cache tells the keys apart by it
    """A key of its own for each name; made when it is needed, since it takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def authority() -> AuthorityKey:
    return authority_key(private_key("authority").public_key())


def sealed(text: str = "EsTc LW2K", user_id: str = USER) -> Envelope:
    return seal(text, authority(), user_id=user_id, secret_storage_key_id="abc", sealed_at=1_770_000_000)


def pem(key: "rsa.RSAPublicKey | ed25519.Ed25519PublicKey") -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@given(st.text(min_size=1, max_size=200))
def test_what_is_sealed_opens_as_it_was(text: str) -> None:
    envelope = sealed(text)
    assert open_envelope(envelope.compact, private_key("authority")) == text
    assert parse(envelope.compact) == envelope


def test_another_library_opens_it_by_the_standard_alone() -> None:
    key = RSAKey.import_key(private_pem(private_key("authority")).decode())
    # It refuses members of a header that no standard names, unless told; RFC 7516 says to pass over them.
    registry = JWERegistry(algorithms=["RSA-OAEP-256", "A256GCM"], strict_check_header=False)
    opened = jwe.decrypt_compact(sealed("EsTc LW2K").compact, key, registry=registry)
    assert opened.plaintext == b"EsTc LW2K"
    assert opened.protected["sub"] == USER


def test_two_envelopes_of_one_key_have_nothing_in_common_but_their_header() -> None:
    one, other = sealed().compact.split("."), sealed().compact.split(".")
    assert one[0] == other[0]
    assert not set(one[1:]) & set(other[1:])


def test_the_recovery_key_does_not_stand_in_the_envelope() -> None:
    compact = sealed("SECRETSECRET").compact
    assert "SECRETSECRET" not in compact
    assert all(b"SECRET" not in base64.urlsafe_b64decode(part + "==") for part in compact.split("."))


@given(st.data())
def test_an_envelope_with_one_character_changed_does_not_open(data: st.DataObject) -> None:
    compact = sealed().compact
    place = data.draw(st.integers(0, len(compact) - 1))
    letter = data.draw(st.sampled_from(ALPHABET + "."))
    if letter == compact[place]:
        return
    with pytest.raises(ValueError, match=r"^(is|has|does|names) "):
        open_envelope(compact[:place] + letter + compact[place + 1 :], private_key("authority"))


def test_an_envelope_that_is_filed_under_another_user_does_not_open() -> None:
    parts = sealed().compact.split(".")
    header = json.loads(base64.urlsafe_b64decode(parts[0] + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**header, "sub": "@alice:example.org"}, sort_keys=True, separators=(",", ":")).encode())
    compact = ".".join([forged.rstrip(b"=").decode(), *parts[1:]])
    assert parse(compact).user_id == "@alice:example.org"
    with pytest.raises(ValueError, match="has been changed"):
        open_envelope(compact, private_key("authority"))


def test_another_authority_cannot_open_it() -> None:
    with pytest.raises(ValueError, match="is for another key"):
        open_envelope(sealed().compact, private_key("other"))


@given(st.text(max_size=300) | st.text(ALPHABET + ".", max_size=300))
def test_no_text_makes_the_reader_fail_in_another_way_than_it_says(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|names|does) ") as caught:
        parse(text)
    assert len(text) < 12 or text not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b'{"alg":"RSA-OAEP-256","alg":"RSA1_5"}',
        b"[" * 5000,
        b'{"alg":"none","enc":"A256GCM","iat":1,"kid":"00","ssk":"a","sub":"@a:b","typ":"matrix-recovery-key","v":1}',
    ],
)
def test_a_header_of_another_form_is_refused(header: bytes) -> None:
    encoded = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
    with pytest.raises(ValueError, match=r"^(is|has|names) "):
        parse(".".join([encoded, *sealed().compact.split(".")[1:]]))


def test_a_header_that_could_be_read_in_two_ways_is_refused() -> None:
    parts = sealed().compact.split(".")
    header = base64.urlsafe_b64decode(parts[0] + "==")
    for other in (
        header.replace(b",", b", ", 1),
        header[:-1] + b',"sub":"@alice:example.org"}',
        header.replace(b"@mallory", b"\\u0040mallory"),
    ):
        assert other != header
        with pytest.raises(ValueError, match="header of another form"):
            parse(".".join([base64.urlsafe_b64encode(other).rstrip(b"=").decode(), *parts[1:]]))


def test_version_true_is_not_version_1() -> None:
    parts = sealed().compact.split(".")
    header = base64.urlsafe_b64decode(parts[0] + "==").replace(b'"v":1', b'"v":true')
    with pytest.raises(ValueError, match="version 1"):
        parse(".".join([base64.urlsafe_b64encode(header).rstrip(b"=").decode(), *parts[1:]]))


def test_an_oversized_envelope_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="is longer than 8192"):
        parse("A" * 8193)


def test_the_id_of_a_key_is_what_openssl_prints(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(private_key("authority").public_key()))
    done = subprocess.run(
        f"openssl pkey -pubin -in {file} -outform DER | sha256sum", shell=True, capture_output=True, text=True, check=True
    )
    assert authority().id == done.stdout.split()[0]


def test_a_private_key_is_refused_and_not_quoted() -> None:
    content = private_pem(private_key("authority"))
    with pytest.raises(ValueError, match="must never come near the cluster") as caught:
        read_authority_keys(content)
    assert content.decode().splitlines()[1] not in str(caught.value)


def test_a_private_key_behind_a_public_one_is_refused() -> None:
    with pytest.raises(ValueError, match="must never come near"):
        read_authority_keys(pem(private_key("authority").public_key()) + private_pem(private_key("other")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"", "no public key"),
        (lambda: b"hello", "no public key"),
        (lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (lambda: pem(ed25519.Ed25519PrivateKey.generate().public_key()), "not RSA"),
        (lambda: pem(private_key("short", 2048).public_key()), "2048 bits"),
    ],
)
def test_a_file_without_a_fit_public_key_is_refused_with_its_reason(content: Callable[[], bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_authority_keys(content())


def test_a_file_may_hold_the_keys_before_the_present_one() -> None:
    keys = read_authority_keys(pem(private_key("other").public_key()) + pem(private_key("authority").public_key()))
    assert [key.id for key in keys] == [authority_key(private_key("other").public_key()).id, authority().id]


def test_the_authority_opens_files_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "private.pem").write_bytes(private_pem(private_key("authority")))
    (tmp_path / "a.jwe").write_text(sealed("EsTc LW2K").compact)
    (tmp_path / "b.jwe").write_text("junk")
    assert open_command.main([str(tmp_path / "private.pem"), str(tmp_path / "a.jwe")]) == 0
    assert capsys.readouterr().out == f"{USER}\tEsTc LW2K\n"
    assert open_command.main([str(tmp_path / "private.pem"), str(tmp_path / "b.jwe")]) == 1


@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_key_reads_as_it_was_written(key: bytes) -> None:
    assert recovery_key.decode(recovery_key.encode(key)) == key


def test_a_recovery_key_is_written_as_clients_write_it() -> None:
    # The vector that the Matrix clients' own tests have in common (matrix-js-sdk, vodozemac, matrix-ios-sdk).
    key = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    written = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
    assert recovery_key.encode(key) == written
    assert recovery_key.decode(written) == key


@given(st.binary(min_size=32, max_size=32), st.data())
def test_a_recovery_key_with_one_character_changed_is_refused(key: bytes, data: st.DataObject) -> None:
    text = recovery_key.encode(key).replace(" ", "")
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz").filter(lambda one: one != text[place]))
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert recovery_key.decode(changed) != key
    except ValueError:
        return


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_of_recovery_keys_fail_in_another_way(text: str) -> None:
    with pytest.raises(ValueError, match="is not a recovery key"):
        recovery_key.decode(text)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16))
def test_a_key_fits_the_account_data_that_another_library_computes(key: bytes, iv: bytes) -> None:
    derived = HKDF(key, 64, bytes(32), SHA256, 1, b"")
    assert isinstance(derived, bytes)
    ciphertext = AES.new(derived[:32], AES.MODE_CTR, nonce=b"", initial_value=iv).encrypt(bytes(32))
    mac = HMAC.new(derived[32:], ciphertext, SHA256).digest()
    description = {
        "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
        "iv": base64.b64encode(iv).decode(),
        "mac": base64.b64encode(mac).decode(),
    }
    assert recovery_key.fits(key, description)
    assert not recovery_key.fits(bytes([key[0] ^ 1]) + key[1:], description)


@pytest.mark.parametrize("description", [{}, {"algorithm": "m.other"}, {"algorithm": recovery_key.ALGORITHM, "iv": "!", "mac": "AA"}])
def test_a_key_fits_no_account_data_of_another_form(description: dict[str, str]) -> None:
    assert not recovery_key.fits(bytes(32), description)
