"""Secret manifests on an operator's machine: kept, private, and never where they would be published."""

import base64
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from signedjson.key import read_signing_keys

from app.secret_manifests import ManifestError, read_given, write_manifests
from kit.secrets import Composed, Copied, Fixed, Form, Given, KeyRef, RandomText, SecretSpec, Shared, SynapseSigningKey

REDIS = SecretSpec("redis", "matrix", {"password": RandomText(), "redis.conf": Composed("requirepass {password}\n")})
SYNAPSE = SecretSpec("synapse", "matrix", {"signing.key": SynapseSigningKey(), "user": Fixed("synapse")})
LIVEKIT = SecretSpec("livekit", "matrix-rtc", {"redis": Shared(REDIS.key("password")), "secret": RandomText(40)})
SYGNAL = SecretSpec("sygnal", "matrix", {"apns.p8": Given("the APNs key")})
READER = SecretSpec("reader", "matrix-li", {"password": Copied(KeyRef("matrix", "main-app", "password"))})
SPECS = (LIVEKIT, READER, REDIS, SYGNAL, SYNAPSE)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "dist"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out" / "secrets"


def values(folder: Path) -> dict[str, dict[str, bytes]]:
    manifests = [yaml.safe_load(path.read_text()) for path in sorted(folder.iterdir())]
    return {m["metadata"]["name"]: {key: base64.b64decode(value) for key, value in m["data"].items()} for m in manifests}


def test_each_secret_becomes_one_manifest_with_all_that_can_be_made(folder: Path, dist: Path) -> None:
    written = write_manifests(SPECS, folder, dist)
    assert {path.name for path in written.files} == {"matrix.redis.yaml", "matrix.synapse.yaml", "matrix-rtc.livekit.yaml"}
    assert written.missing == ("matrix/sygnal: apns.p8: the APNs key",)
    made = values(folder)
    assert made["redis"]["redis.conf"] == b"requirepass " + made["redis"]["password"] + b"\n"
    assert made["livekit"]["redis"] == made["redis"]["password"]
    assert read_signing_keys(made["synapse"]["signing.key"].decode().splitlines())


def test_only_the_owner_can_read_what_was_written(folder: Path, dist: Path) -> None:
    for path in write_manifests(SPECS, folder, dist).files:
        assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_second_run_changes_nothing(folder: Path, dist: Path) -> None:
    write_manifests(SPECS, folder, dist)
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in folder.iterdir()}
    assert write_manifests(SPECS, folder, dist).files == ()
    assert {path: (path.read_bytes(), path.stat().st_ino) for path in folder.iterdir()} == before


def test_an_upgrade_adds_the_new_key_and_keeps_the_rest_of_the_file(folder: Path, dist: Path) -> None:
    write_manifests([REDIS], folder, dist)
    path = folder / "matrix.redis.yaml"
    path.write_text("# ours\n" + path.read_text().replace("metadata:\n", "metadata:\n  annotations:\n    who: me\n"))
    before = values(folder)["redis"]
    more = SecretSpec("redis", "matrix", dict(REDIS.keys) | {"sentinel": RandomText()})
    assert write_manifests([more], folder, dist).files == (path,)
    after = values(folder)["redis"]
    assert {key: after[key] for key in before} == before
    assert len(after["sentinel"]) == 32
    assert path.read_text().startswith("# ours\n")
    assert "who: me" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_value_that_a_person_wrote_as_text_is_used(folder: Path, dist: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "matrix.redis.yaml").write_text(
        "kind: Secret\nmetadata: {name: redis, namespace: matrix}\nstringData: {password: from-a-person}\n"
    )
    write_manifests([REDIS], folder, dist)
    assert values(folder)["redis"] == {"redis.conf": b"requirepass from-a-person\n"}
    assert write_manifests([REDIS], folder, dist).files == ()


def test_values_that_the_operator_gives_are_taken_over(folder: Path, dist: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "given" / "matrix"
    (theirs / "sygnal").mkdir(parents=True)
    (theirs / "redis").mkdir()
    (theirs / "sygnal" / "apns.p8").write_bytes(b"\x00key")
    (theirs / "redis" / "password").write_bytes(b"ours-since-2019")
    written = write_manifests(SPECS, folder, dist, read_given(tmp_path / "given"))
    assert written.missing == ()
    assert values(folder)["sygnal"] == {"apns.p8": b"\x00key"}
    assert values(folder)["redis"] == {"password": b"ours-since-2019", "redis.conf": b"requirepass ours-since-2019\n"}
    assert values(folder)["livekit"]["redis"] == b"ours-since-2019"


def test_a_given_value_never_replaces_one_that_is_there(folder: Path, dist: Path) -> None:
    write_manifests(SPECS, folder, dist)
    before = values(folder)
    with pytest.raises(ManifestError, match="password has another value") as refused:
        write_manifests(SPECS, folder, dist, {REDIS.key("password"): b"the-other-one"})
    assert "the-other-one" not in str(refused.value)
    assert values(folder) == before


def test_a_given_value_that_nobody_needs_is_a_mistake(folder: Path, dist: Path, tmp_path: Path) -> None:
    for key in (KeyRef("matrix", "redis", "passwort"), KeyRef("matrix", "rediss", "password"), READER.key("password")):
        with pytest.raises(ManifestError, match="no Secret of the platform needs"):
            write_manifests(SPECS, folder, dist, {key: b"x"})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "stray").write_text("x")
    with pytest.raises(ManifestError, match="expected"):
        read_given(tmp_path / "given")


def test_a_private_key_in_place_of_a_public_one_is_not_written(folder: Path, dist: Path) -> None:
    vault = SecretSpec("key-vault", "matrix", {"public.pem": Given("the vault's public key", Form.RSA_PUBLIC_KEY)})
    with pytest.raises(ManifestError, match="private key"):
        write_manifests([vault, REDIS], folder, dist, {vault.key("public.pem"): b"-----BEGIN PRIVATE KEY-----\n"})
    assert not folder.exists()


@pytest.mark.parametrize("below", [".", "base", "overlays/../base/x"])
def test_nothing_is_ever_written_into_dist(dist: Path, below: str) -> None:
    with pytest.raises(ManifestError, match="no secret may be there"):
        write_manifests(SPECS, dist / below, dist, force=True)
    link = dist.parent / "link"
    link.symlink_to(dist)
    with pytest.raises(ManifestError, match="no secret may be there"):
        write_manifests(SPECS, link / "x", dist, force=True)
    assert list(dist.rglob("*")) == []


def test_a_git_work_tree_is_refused_unless_it_ignores_the_folder_or_is_forced(tmp_path: Path, dist: Path) -> None:
    project = dist.parent
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    for folder in (project, project / "secrets", project / "deep" / "er"):
        with pytest.raises(ManifestError, match="Git work tree"):
            write_manifests(SPECS, folder, dist)
    (tmp_path / "link").symlink_to(project)
    with pytest.raises(ManifestError, match="Git work tree"):
        write_manifests(SPECS, tmp_path / "link" / "secrets", dist)
    assert {path.name for path in project.iterdir()} == {".git", "dist"}
    assert write_manifests(SPECS, project / "forced", dist, force=True).files
    (project / ".gitignore").write_text("/secrets/\n")
    assert write_manifests(SPECS, project / "secrets", dist).files


def sealed_by_sops(keys: list[str]) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "redis", "namespace": "matrix"},
            "data": dict.fromkeys(keys, "ENC[AES256_GCM,data:abc=,iv:abc=,tag:abc=,type:str]"),
            "sops": {"version": "3.9.0"},
        }
    )


def sealed_by_sealed_secrets(keys: list[str]) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "bitnami.com/v1alpha1",
            "kind": "SealedSecret",
            "metadata": {"name": "redis", "namespace": "matrix"},
            "spec": {"encryptedData": dict.fromkeys(keys, "AgBy3i4OJSWK")},
        }
    )


@pytest.mark.parametrize("seal", [sealed_by_sops, sealed_by_sealed_secrets])
def test_a_sealed_file_stays_as_it_is(folder: Path, dist: Path, seal: Callable[[list[str]], str]) -> None:
    folder.mkdir(parents=True)
    path = folder / "matrix.redis.yaml"
    path.write_text(seal(["password", "redis.conf"]))
    before = path.read_bytes()
    assert write_manifests([REDIS, SYNAPSE], folder, dist).files == (folder / "matrix.synapse.yaml",)
    assert path.read_bytes() == before
    with pytest.raises(ManifestError, match="is sealed, and another Secret needs its value"):
        write_manifests([REDIS, LIVEKIT], folder, dist)
    path.write_text(seal(["password"]))
    with pytest.raises(ManifestError, match=r"is sealed and lacks redis\.conf"):
        write_manifests([REDIS], folder, dist)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "kind: ConfigMap\nmetadata: {name: redis, namespace: matrix}",
        "kind: Secret\nmetadata: {name: redis, namespace: other}",
        "kind: Secret\nmetadata: {name: redis, namespace: matrix}\ndata: {password: 'not base64!'}",
        "kind: Secret\nmetadata: {name: redis, namespace: matrix}\nstringData: {password: 12}",
        "a: b: s3cret-in-broken-yaml",
        "\x00",
    ],
)
def test_a_file_that_is_something_else_is_left_alone_and_not_quoted(folder: Path, dist: Path, text: str) -> None:
    folder.mkdir(parents=True)
    path = folder / "matrix.redis.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as refused:
        write_manifests(SPECS, folder, dist)
    assert "s3cret" not in str(refused.value)
    assert "not base64!" not in str(refused.value)
    assert [path.name for path in folder.iterdir()] == ["matrix.redis.yaml"]
    assert path.read_text() == text


@settings(max_examples=25)
@given(st.lists(st.sets(st.sampled_from(SPECS)), min_size=1, max_size=4))
def test_however_a_platform_grows_no_value_ever_changes(steps: list[set[SecretSpec]]) -> None:
    seen: dict[tuple[str, str], bytes] = {}
    with tempfile.TemporaryDirectory() as place:
        for step in steps:
            write_manifests(step | {REDIS}, Path(place) / "secrets", Path(place) / "dist")
            for name, data in values(Path(place) / "secrets").items():
                for key, value in data.items():
                    assert seen.setdefault((name, key), value) == value
