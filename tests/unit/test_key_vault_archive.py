"""Exported cases: whole as they were written, and nothing else passes for one."""

import io
import json
import subprocess
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from attrs import evolve
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.key_deposit.envelope import Envelope, authority_key, seal
from services.key_vault import archive
from services.key_vault.archive import BadArchiveError, Subject, build, public_key_pem, verify
from services.key_vault.audit import EMPTY, Entry, canonical, digest, next_entry
from services.key_vault.cases import Case, Order, Step, TakenStep
from services.key_vault.etsi import Operator
from services.key_vault.record import of_request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGET, STRANGER = "@mallory:example.org", "@alice:example.org"
CASE = Case(
    id=UUID("00000000-0000-4000-8000-000000000001"),
    order=Order("12 Gs 345/26", "StPO 100a", "Amtsgericht", "order.pdf", "", "Messages of one suspect"),
    targets=(TARGET,),
    acting=("anna",),
    start=NOW,
    end=NOW + timedelta(days=30),
    requested_by="anna",
    requested_at=NOW,
    steps=(TakenStep(Step.APPROVE, "clara", NOW, "because"), TakenStep(Step.OPEN, "anna", NOW, "because")),
)
SECRET = "what another case is about"


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:  # noqa: ARG001  # the cache tells the keys apart by it
    """A key of its own for each name; made when it is needed, since it takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def vault() -> rsa.RSAPublicKey:
    return private_key("vault").public_key()


def sealed(user_id: str) -> Envelope:
    key = authority_key(private_key("authority").public_key())
    return seal("EsTc LW2K", key, user_id=user_id, secret_storage_key_id="abc", sealed_at=1_770_000_000)


@cache
def envelope() -> Envelope:
    return sealed(TARGET)


def log(released: Envelope) -> list[Entry]:
    own = {"case": str(CASE.id)}
    events = [
        ("case.requested", {"case": "other", "officer": "boris", "detail": {"request": SECRET}}),
        ("case.requested", {**own, "officer": "anna", "detail": {"request": of_request(CASE)}}),
        ("case.approve", {**own, "officer": "clara", "detail": {"reason": "because"}}),
        ("keys.released", {"case": "other", "officer": "boris", "detail": {"target": SECRET}}),
        ("case.open", {**own, "officer": "anna", "detail": {"reason": "because"}}),
        ("keys.released", {**own, "officer": "anna", "detail": {"target": TARGET, "envelopes_sha256": [released.sha256]}}),
        ("case.exported", {**own, "officer": "dora", "detail": {"reason": "court"}}),
    ]
    entries: list[Entry] = []
    for event, fields in events:
        entries.append(next_entry(entries[-1].head if entries else EMPTY, NOW, event, fields))
    return entries


def export(entries: list[Entry], envelopes: list[Envelope], case: Case = CASE, key: str = "vault") -> bytes:
    own = [entry for entry in entries if entry.document().get("case") == str(CASE.id)]
    subject = Subject(case, "dora", NOW, entries[-1].head, Operator("DE", "example-operator"))
    return build(subject, private_key(key), own, entries[own[0].sequence - 1 :], envelopes)


@cache
def its_log() -> list[Entry]:
    return log(envelope())


@cache
def whole() -> bytes:
    return export(its_log(), [envelope()])


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def signed_again(files: Mapping[str, bytes], **changes: object) -> bytes:
    """What a vault would make that lies: all digests and the signature are right."""
    manifest = {**json.loads(files["manifest.json"]), **changes}
    content = {name: data for name, data in files.items() if not name.startswith("manifest.")}
    manifest["files"] = {name: {"sha256": digest(data), "size": len(data)} for name, data in content.items()}
    raw = canonical(manifest)
    signature = private_key("vault").sign(raw, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return zipped({**content, "manifest.json": raw, "manifest.sig": signature})


def test_an_archive_is_whole_as_it_was_written() -> None:
    verified = verify(whole(), vault())
    assert verified.case == CASE
    assert verified.envelopes == (envelope(),)
    assert [document["event"] for document in verified.documents] == [
        *("case.requested", "case.approve", "case.open", "keys.released", "case.exported"),
    ]


def test_an_archive_shows_nothing_of_other_cases() -> None:
    assert all(SECRET.encode() not in content and b"boris" not in content for content in files_of(whole()).values())


def test_an_archive_that_another_key_signed_is_refused() -> None:
    with pytest.raises(BadArchiveError, match="not by this key"):
        verify(export(its_log(), [envelope()], key="other"), vault())


@settings(max_examples=300)
@given(st.data())
def test_an_archive_with_one_byte_changed_is_refused_or_says_the_same(data: st.DataObject) -> None:
    damaged = bytearray(whole())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        verified = verify(bytes(damaged), vault())
    except BadArchiveError:
        return
    # Times and attributes in the ZIP's own headers are not part of what is signed.
    assert verified == verify(whole(), vault())


def test_no_file_can_be_changed_left_out_or_added() -> None:
    files = files_of(whole())
    assert len(files) == 8
    damaged = [{**files, "x": b""}]
    damaged += [{**files, name: content + b" "} for name, content in files.items()]
    damaged += [{key: content for key, content in files.items() if key != name} for name in files]
    for one in damaged:
        with pytest.raises(BadArchiveError):
            verify(zipped(one), vault())


@given(st.binary(max_size=500))
def test_no_bytes_make_the_verification_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(BadArchiveError):
        verify(data, vault())


def test_an_archive_that_would_fill_the_disk_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST", 1000)
    with pytest.raises(BadArchiveError, match="unpacks to more"):
        verify(whole(), vault())


def test_an_entry_that_is_not_in_the_chain_is_found_though_all_is_signed() -> None:
    files = files_of(whole())
    changed = files["audit.jsonl"].replace(b'"anna"', b'"anne"')
    with pytest.raises(BadArchiveError, match="is not the one in the chain"):
        verify(signed_again({**files, "audit.jsonl": changed}), vault())


def test_a_chain_that_does_not_lead_to_the_head_is_found_though_all_is_signed() -> None:
    files = files_of(whole())
    lines = files["chain.txt"].splitlines(keepends=True)
    with pytest.raises(BadArchiveError, match=r"head that is signed|not in the chain"):
        verify(signed_again({**files, "chain.txt": b"".join(lines[:-1])}), vault())
    others = lines[2].split()[1]
    with pytest.raises(BadArchiveError, match="does not lead to the head"):
        verify(signed_again({**files, "chain.txt": files["chain.txt"].replace(others, digest(b"x").encode())}), vault())
    with pytest.raises(BadArchiveError, match="gap"):
        verify(signed_again({**files, "chain.txt": b"".join(lines[:2] + lines[3:])}), vault())


def test_a_case_that_says_something_else_than_the_log_is_found_though_all_is_signed() -> None:
    with pytest.raises(BadArchiveError, match=r"case\.json says something else"):
        verify(export(its_log(), [envelope()], case=evolve(CASE, targets=(TARGET, STRANGER))), vault())


def test_a_released_key_that_is_missing_is_found_though_all_is_signed() -> None:
    with pytest.raises(BadArchiveError, match="exactly what was released"):
        verify(export(its_log(), []), vault())
    with pytest.raises(BadArchiveError, match="exactly what was released"):
        verify(export(its_log(), [envelope(), sealed(TARGET)]), vault())


def test_the_key_of_somebody_who_is_no_target_is_found_though_all_is_signed() -> None:
    other = sealed(STRANGER)
    with pytest.raises(BadArchiveError, match="no target"):
        verify(export(log(other), [other]), vault())


def test_the_command_verifies_and_extracts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "case.zip").write_bytes(whole())
    (tmp_path / "key.pem").write_bytes(public_key_pem(vault()))
    arguments = ["--public-key", str(tmp_path / "key.pem"), "--extract-envelopes", str(tmp_path / "keys"), str(tmp_path / "case.zip")]
    assert archive.main(arguments) == 0
    assert "whole: case 00000000-0000-4000-8000-000000000001" in capsys.readouterr().out
    assert (tmp_path / "keys" / f"{envelope().sha256}.jwe").read_text() == envelope().compact
    (tmp_path / "case.zip").write_bytes(whole()[:-1])
    assert archive.main(arguments) == 1
    assert "NOT WHOLE" in capsys.readouterr().err
    assert archive.main(["--public-key", str(tmp_path / "missing"), str(tmp_path / "case.zip")]) == 2


def test_openssl_verifies_the_signature_as_the_archive_itself_says(tmp_path: Path) -> None:
    for name, content in files_of(whole()).items():
        (tmp_path / Path(name).name).write_bytes(content)
    command = (
        "dgst -sha256 -verify public-key.pem -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -signature manifest.sig manifest.json"
    )
    done = subprocess.run(["openssl", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Verified OK\n")
    assert " ".join(command.replace("public-key.pem", "KEY.pem").split()) in " ".join(
        (tmp_path / "README.txt").read_text().replace("\\", "").split()
    )


def test_the_public_key_is_one_that_openssl_reads() -> None:
    assert isinstance(serialization.load_pem_public_key(public_key_pem(vault())), rsa.RSAPublicKey)
