"""How values are made and checked, by the code that runs in the cluster."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from signedjson.key import generate_signing_key, get_verify_key, read_signing_keys, write_signing_keys
from signedjson.sign import sign_json, verify_signed_json

from services.secrets.recipes import Recipe, RecipeError, complete, make

RANDOM = {"recipe": "random-text", "length": 32, "alphabet": "abcdefghijklmnop"}
SIGNING_KEY = {"recipe": "synapse-signing-key"}
RSA_KEY = {"recipe": "rsa-private-key", "bits": 2048}
FIXED = {"recipe": "fixed", "value": "synapse"}
GIVEN = {"recipe": "given", "description": "the APNs key", "form": "any"}
PUBLIC_KEY = {"recipe": "given", "description": "the public key", "form": "rsa-public-key"}
COPIED = {"recipe": "copied", "source": {"namespace": "matrix", "secret": "main-app", "key": "password"}}
SHARED = {"recipe": "shared", "source": {"namespace": "matrix", "secret": "redis", "key": "password"}}
COMPOSED = {"recipe": "composed", "parts": ["pass=", {"key": "password"}, ";"]}


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@given(st.integers(1, 100), st.sampled_from(["01", "abcdef0123456789", "Zy9-._~"]))
def test_random_text_has_the_length_and_the_alphabet_asked_for(length: int, alphabet: str) -> None:
    value = make({"recipe": "random-text", "length": length, "alphabet": alphabet}).decode()
    assert len(value) == length
    assert set(value) <= set(alphabet)


def test_random_text_uses_its_alphabet_evenly_and_never_repeats() -> None:
    values = [make(RANDOM).decode() for _ in range(2000)]
    assert len(set(values)) == len(values)
    text = "".join(values)
    expected = len(text) / 16
    # The chi-square of 15 degrees of freedom passes 60 once in three million runs.
    assert sum((text.count(letter) - expected) ** 2 / expected for letter in "abcdefghijklmnop") < 60


def test_a_signing_key_is_one_line_that_signedjson_reads_and_that_signs() -> None:
    line = make(SIGNING_KEY).decode()
    (key,) = read_signing_keys(line.splitlines())
    assert line.endswith("\n")
    assert line.count("\n") == 1
    verify_signed_json(sign_json({"a": 1}, "example.org", key), "example.org", get_verify_key(key))
    again = io.StringIO()
    write_signing_keys(again, (key,))
    assert again.getvalue() == line


def test_each_signing_key_has_an_id_of_its_own() -> None:
    ids = {make(SIGNING_KEY).decode().split()[1] for _ in range(50)}
    assert len(ids) > 45  # 52**4 ids
    assert all(len(name) == 6 and name.startswith("a_") and name[2:].isalpha() for name in ids)


def test_an_rsa_key_has_the_size_asked_for_and_no_passphrase() -> None:
    key = serialization.load_pem_private_key(make(RSA_KEY), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


def test_a_recipe_that_is_not_known_is_an_error_and_not_an_empty_value() -> None:
    for recipe in ({"recipe": "rot13"}, {}, {"recipe": "random-text"}, {"recipe": "random-text", "length": 0, "alphabet": "a"}):
        with pytest.raises(RecipeError):
            complete({"key": recipe}, {}, {})


def test_everything_that_can_be_made_is_made() -> None:
    keys: dict[str, Recipe] = {"conf": COMPOSED, "password": RANDOM, "user": FIXED, "copy": COPIED, "apns": GIVEN}
    result = complete(keys, {}, {"copy": b"theirs"})
    assert set(result.added) == {"conf", "password", "user", "copy"}
    assert result.added["conf"] == b"pass=" + result.added["password"] + b";"
    assert result.added["user"] == b"synapse"
    assert result.added["copy"] == b"theirs"
    assert result.missing == {"apns": "the APNs key"}
    assert result.faults == {}


RECIPES = st.sampled_from([RANDOM, SIGNING_KEY, FIXED, GIVEN, PUBLIC_KEY, COPIED, SHARED, COMPOSED])


@given(
    st.dictionaries(st.sampled_from(["password", "b", "c", "d"]), RECIPES.filter(lambda recipe: recipe is not COMPOSED)),
    st.dictionaries(st.sampled_from(["x", "y"]), st.just(COMPOSED)),
    st.dictionaries(st.sampled_from(["password", "b", "c", "d", "x", "y", "stranger"]), st.binary(max_size=4)),
    st.dictionaries(st.sampled_from(["password", "b", "c", "d"]), st.binary(min_size=1, max_size=4)),
)
def test_a_value_that_is_there_is_never_replaced_and_a_second_run_adds_nothing(
    plain: dict[str, dict[str, object]], composed: dict[str, dict[str, object]], present: dict[str, bytes], sources: dict[str, bytes]
) -> None:
    keys = {**plain, **composed}
    first = complete(keys, present, sources)
    assert not set(first.added) & set(present)
    assert set(first.added) | set(first.missing) == set(keys) - set(present)
    assert not set(first.added) & set(first.missing)
    assert set(first.faults) <= set(present)
    second = complete(keys, {**present, **first.added}, sources)
    assert second.added == {}
    assert second.missing == first.missing
    assert second.faults == first.faults  # what has been made is without fault


def test_a_composed_key_takes_the_values_that_are_there() -> None:
    result = complete({"conf": COMPOSED, "password": RANDOM}, {"password": b"old"}, {})
    assert result.added == {"conf": b"pass=old;"}


def test_a_composed_key_waits_for_what_it_is_composed_of() -> None:
    result = complete({"conf": COMPOSED, "password": GIVEN}, {}, {})
    assert result.added == {}
    assert result.missing["conf"] == "is composed of password, which is not there"


@pytest.mark.parametrize(("recipe", "source"), [(FIXED, None), (COPIED, b"theirs"), (SHARED, b"theirs"), (COMPOSED, None)])
def test_a_value_that_disagrees_with_where_it_comes_from_is_a_fault(recipe: dict[str, object], source: bytes | None) -> None:
    keys = {"key": recipe, "password": RANDOM}
    present = {"key": b"stale", "password": b"p"}
    result = complete(keys, present, {"key": source})
    assert set(result.faults) == {"key"}
    assert result.added == {}


def test_a_copy_stays_good_while_its_source_is_away() -> None:
    assert complete({"key": COPIED}, {"key": b"theirs"}, {"key": None}).faults == {}


@pytest.mark.parametrize("recipe", [RANDOM, SIGNING_KEY, RSA_KEY, FIXED, GIVEN, PUBLIC_KEY, COPIED, SHARED])
def test_an_empty_value_is_a_fault(recipe: dict[str, object]) -> None:
    assert complete({"key": recipe}, {"key": b""}, {"key": b"x"}).faults == {"key": "is empty"}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\n",
        b"ed25519 a_abcd",
        b"ed25519 a_abcd !!!!",
        b"ed25519 a_abcd " + base64.b64encode(b"x" * 31),
        b"rsa a_abcd " + base64.b64encode(b"x" * 32),
        b"\xff\xfe",
        b"ed25519 a_abcd " + base64.b64encode(b"x" * 32).rstrip(b"=") + b"\nmore",
    ],
)
def test_a_signing_key_that_synapse_could_not_read_is_a_fault(value: bytes) -> None:
    assert "key" in complete({"key": SIGNING_KEY}, {"key": value}, {}).faults


def test_a_signing_key_file_of_an_older_installation_is_accepted() -> None:
    stream = io.StringIO()
    write_signing_keys(stream, (generate_signing_key("0"), generate_signing_key("a_old")))
    for text in (stream.getvalue(), stream.getvalue().rstrip("\n"), stream.getvalue() + "\n\n"):
        assert complete({"key": SIGNING_KEY}, {"key": text.encode()}, {}).faults == {}


def test_a_private_key_is_refused_where_only_the_public_one_may_be(rsa_key: rsa.RSAPrivateKey) -> None:
    for value in (pem(rsa_key), public_pem(rsa_key) + pem(rsa_key)):
        assert "must never be in the cluster" in complete({"key": PUBLIC_KEY}, {"key": value}, {}).faults["key"]
    assert complete({"key": PUBLIC_KEY}, {"key": public_pem(rsa_key)}, {}).faults == {}
    for value in (b"ssh-rsa AAAA", public_pem(ec.generate_private_key(ec.SECP256R1())), b"\xff"):
        assert "key" in complete({"key": PUBLIC_KEY}, {"key": value}, {}).faults


def test_only_an_rsa_private_key_is_one(rsa_key: rsa.RSAPrivateKey) -> None:
    assert complete({"key": RSA_KEY}, {"key": pem(rsa_key)}, {}).faults == {}
    for value in (public_pem(rsa_key), pem(ec.generate_private_key(ec.SECP256R1())), b"x"):
        assert "key" in complete({"key": RSA_KEY}, {"key": value}, {}).faults


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), st.binary(min_size=12, max_size=40)))
def test_no_message_tells_a_value(present: dict[str, bytes]) -> None:
    keys: dict[str, Recipe] = {"a": SIGNING_KEY, "b": RSA_KEY, "c": PUBLIC_KEY, "d": FIXED, "e": COPIED}
    result = complete(keys, present, {"e": b"the-value-at-the-source"})
    told = json.dumps([dict(result.missing), dict(result.faults)])
    for value in [*present.values(), b"the-value-at-the-source"]:
        assert value.decode(errors="replace") not in told
        assert base64.b64encode(value).decode() not in told


def test_what_asks_the_kubernetes_api_needs_nothing_that_synapse_does_not_bring() -> None:
    allowed = {"attr", "attrs", "signedjson", "cryptography", "services"} | set(sys.stdlib_module_names)
    for file in sorted(
        file for package in ("secrets", "kubernetes_api", "first_backup") for file in Path("services", package).glob("*.py")
    ):
        imported = {
            line.split()[1].partition(".")[0] for line in file.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))
        }
        assert imported <= allowed, file


def test_making_values_of_the_common_kind_needs_no_library_at_all() -> None:
    """So that a Job for a platform without a homeserver, or a person with plain Python and attrs, can run it."""
    code = (
        "import sys; sys.modules['signedjson'] = sys.modules['cryptography'] = None\n"
        "from services.secrets.recipes import make; make({'recipe': 'random-text', 'length': 32, 'alphabet': 'ab'})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
