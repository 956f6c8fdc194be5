"""A case as one signed, self-describing archive (ZIP), and its verification, which needs neither the vault nor a network.

`audit.jsonl` holds the case's own entries of the audit log. `chain.txt` holds the digests of all entries from the first of these to the log's head,
others' too, which say nothing of what is in them: so the case's entries are shown to stand in the chain whose head is signed.
"""

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from services.key_deposit.envelope import Envelope, parse
from services.key_vault import record
from services.key_vault.audit import Entry, Head, canonical, digest, link_hash, timestamp
from services.key_vault.cases import Case
from services.key_vault.etsi import ETSI_VERSION, Operator, objects

FORMAT, VERSION = "matrix-key-vault-case", 1
LARGEST = 2**30
"""Bytes of all files of an archive, unpacked. A chain of ten million entries has 800 MB."""

_MANIFEST, _SIGNATURE, _KEY, _README = "manifest.json", "manifest.sig", "public-key.pem", "README.txt"
_CASE, _AUDIT, _CHAIN, _ENVELOPES = "case.json", "audit.jsonl", "chain.txt", "envelopes/"
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)

_README_TEXT = """\
This archive holds one case of a key vault, with all that was done and read under it.

manifest.json   what this is; the digest (SHA-256) of every other file; the head of the vault's audit log when it was made
manifest.sig    the vault's signature of manifest.json (RSASSA-PSS, SHA-256, salt of 32 bytes)
public-key.pem  the key that verifies it. Take the key from the operator by another way: whoever forges an archive can put in a key too.
case.json       the case as objects of ETSI TS 103 120: authorisation, tasks, document
audit.jsonl     the entries of the audit log that concern this case
chain.txt       the digests of all entries from the first of these to the head
envelopes/      the sealed recovery keys that were released under this case (JSON Web Encryption, for the authority's private key)

To verify all of it:          python -m services.key_vault verify-archive --public-key KEY.pem ARCHIVE
To verify the signature only: openssl dgst -sha256 -verify KEY.pem -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 \\
                                -signature manifest.sig manifest.json
The files themselves:         sha256sum, and compare with manifest.json
"""


class BadArchiveError(Exception):
    """An archive is not what the vault made. The message says in what."""


@frozen
class Subject:
    """What is exported: the case as it stood at `at`, for whom, and the audit log's head then."""

    case: Case
    officer: str
    at: datetime
    head: Head
    operator: Operator


@frozen
class Verified:
    """What an archive that is whole says."""

    case: Case
    manifest: Mapping[str, Any]
    documents: tuple[Mapping[str, Any], ...]
    envelopes: tuple[Envelope, ...]


def public_key_pem(key: rsa.RSAPublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def build(
    subject: Subject, signing_key: rsa.RSAPrivateKey, own: Sequence[Entry], chain: Iterable[Entry], envelopes: Sequence[Envelope]
) -> bytes:
    """Write an archive. `own`: the case's entries; `chain`: all entries from the first of these to the head; both in order."""
    files: dict[str, dict[str, Any]] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, chunks: Iterable[bytes], *, listed: bool = True) -> None:
            information = zipfile.ZipInfo(name, subject.at.timetuple()[:6])
            information.compress_type = zipfile.ZIP_DEFLATED
            information.external_attr = 0o644 << 16
            seen, size = sha256(), 0
            with archive.open(information, "w", force_zip64=True) as file:
                for chunk in chunks:
                    file.write(chunk)
                    seen.update(chunk)
                    size += len(chunk)
            if listed:
                files[name] = {"sha256": seen.hexdigest(), "size": size}

        key = public_key_pem(signing_key.public_key())
        add(_README, [_README_TEXT.encode("utf-8")])
        add(_KEY, [key])
        add(_CASE, [canonical(_case_document(subject.case, subject.at, subject.operator))])
        add(_AUDIT, (canonical({"content": entry.document(), "sequence": entry.sequence}) + b"\n" for entry in own))
        add(_CHAIN, (f"{entry.sequence} {digest(entry.content.encode('utf-8'))}\n".encode("ascii") for entry in chain))
        for envelope in envelopes:
            add(f"{_ENVELOPES}{envelope.sha256}.jwe", [envelope.compact.encode("ascii")])
        manifest = canonical(
            {
                "format": FORMAT,
                "version": VERSION,
                "case": str(subject.case.id),
                "exported_at": timestamp(subject.at),
                "exported_by": subject.officer,
                "country_code": subject.operator.country_code,
                "owner_identifier": subject.operator.identifier,
                "audit_before": str(Head(own[0].sequence - 1, own[0].previous)),
                "audit_head": str(subject.head),
                "signature": "RSASSA-PSS, SHA-256, MGF1 with SHA-256, salt of 32 bytes",
                "files": files,
            }
        )
        add(_MANIFEST, [manifest], listed=False)
        add(_SIGNATURE, [signing_key.sign(manifest, _PSS, hashes.SHA256())], listed=False)
    return buffer.getvalue()


def verify(data: bytes, key: rsa.RSAPublicKey) -> Verified:
    """Read an archive and hold each part to the others. Raises BadArchiveError."""
    files = _unpack(data)
    for name in (_MANIFEST, _SIGNATURE):
        if name not in files:
            raise BadArchiveError(f"{name} is missing")
    try:
        key.verify(files[_SIGNATURE], files[_MANIFEST], _PSS, hashes.SHA256())
    except InvalidSignature:
        raise BadArchiveError("the signature of manifest.json is not by this key") from None
    manifest = _manifest(files.pop(_MANIFEST))
    del files[_SIGNATURE]
    stated = {name: stated["sha256"] for name, stated in manifest["files"].items()}
    for name in sorted({*stated, *files}):
        if name not in files or name not in stated:
            raise BadArchiveError(f"{name} is missing" if name not in files else f"{name} is not in the manifest")
        if digest(files[name]) != stated[name]:
            raise BadArchiveError(f"{name} has been changed")
    try:
        return _consistent(manifest, files)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadArchiveError(f"it is signed, but not of this form: {type(error).__name__}: {error}") from None


def main(arguments: Sequence[str]) -> int:
    """Verify an archive and say what it holds. Returns 1 when it is not whole, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="services.key_vault verify-archive", description="Proves that an exported case is whole.")
    parser.add_argument("--public-key", type=Path, required=True, help="the vault's public key in PEM, as the operator published it")
    parser.add_argument("--extract-envelopes", type=Path, metavar="FOLDER", help="write the sealed keys there, once all is verified")
    parser.add_argument("archive", type=Path)
    options = parser.parse_args(arguments)
    try:
        key = serialization.load_pem_public_key(options.public_key.read_bytes())
        data = options.archive.read_bytes()
    except (OSError, ValueError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    if not isinstance(key, rsa.RSAPublicKey):
        print(f"{options.public_key} is not an RSA public key", file=sys.stderr)
        return 2
    try:
        verified = verify(data, key)
    except BadArchiveError as error:
        print(f"NOT WHOLE: {options.archive}: {error}", file=sys.stderr)
        return 1
    print(_summary(verified))
    if options.extract_envelopes:
        options.extract_envelopes.mkdir(parents=True, exist_ok=True)
        for envelope in verified.envelopes:
            (options.extract_envelopes / f"{envelope.sha256}.jwe").write_text(envelope.compact)
    return 0


def _summary(verified: Verified) -> str:
    case, manifest = verified.case, verified.manifest
    lines = [
        f"whole: case {case.id}, order {case.order.reference} of {case.order.legal_entity}",
        f"exported {manifest['exported_at']} by {manifest['exported_by']}; audit log head {manifest['audit_head']}",
        f"targets: {', '.join(case.targets)}; window {timestamp(case.start)} to {timestamp(case.end)}",
        f"requested {timestamp(case.requested_at)} by {case.requested_by}",
        *(f"{timestamp(taken.at)} {taken.step} by {taken.officer}" for taken in case.steps),
        f"{len(verified.documents)} entries of the log, {len(verified.envelopes)} sealed keys",
    ]
    return "\n".join(lines)


def _case_document(case: Case, at: datetime, operator: Operator) -> dict[str, Any]:
    return {"standard": f"ETSI TS 103 120 {ETSI_VERSION}", "HI1Objects": objects(case, at, operator)}


def _unpack(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > LARGEST:
                raise BadArchiveError(f"it unpacks to more than {LARGEST} bytes")
            if len({member.filename for member in members}) != len(members):
                raise BadArchiveError("it holds two files of one name")
            return {member.filename: archive.read(member) for member in members}
    except BadArchiveError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, struct.error, UnicodeDecodeError and whatever else damaged files lead to
        raise BadArchiveError(f"it is not a readable ZIP file: {type(error).__name__}") from None


def _manifest(raw: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(raw)
        whole = canonical(manifest) == raw and (manifest["format"], manifest["version"]) == (FORMAT, VERSION)
        names = manifest["files"].keys() if whole else ()
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        whole, names = False, ()
    if not whole or not {_README, _KEY, _CASE, _AUDIT, _CHAIN} <= set(names):
        raise BadArchiveError(f"manifest.json is not one of {FORMAT} version {VERSION}")
    return manifest


def _consistent(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Verified:
    own = [json.loads(line) for line in files[_AUDIT].splitlines()]
    digests = {line["sequence"]: digest(canonical(line["content"])) for line in own}
    _check_chain(manifest, files[_CHAIN].decode("ascii"), digests)
    documents = [line["content"] for line in own]
    if any(document["case"] != manifest["case"] for document in documents):
        raise BadArchiveError("audit.jsonl holds an entry of another case")
    case = record.to_case(documents)
    if case is None or str(case.id) != manifest["case"]:
        raise BadArchiveError("audit.jsonl does not hold the request of this case")
    operator = Operator(manifest["country_code"], manifest["owner_identifier"])
    if files[_CASE] != canonical(_case_document(case, datetime.fromisoformat(manifest["exported_at"]), operator)):
        raise BadArchiveError("case.json says something else than the audit log")
    released = {one for document in documents if document["event"] == "keys.released" for one in document["detail"]["envelopes_sha256"]}
    envelopes = {parse(content.decode("ascii")) for name, content in files.items() if name.startswith(_ENVELOPES)}
    if {envelope.sha256 for envelope in envelopes} != released:
        raise BadArchiveError("envelopes/ does not hold exactly what was released under this case")
    if any(envelope.user_id not in case.targets for envelope in envelopes):
        raise BadArchiveError("envelopes/ holds the key of somebody who is no target of this case")
    return Verified(case, manifest, tuple(documents), tuple(sorted(envelopes, key=lambda envelope: envelope.sealed_at)))


def _check_chain(manifest: Mapping[str, Any], chain: str, own: Mapping[int, str]) -> None:
    head, left = Head.parse(manifest["audit_before"]), dict(own)
    for sequence, content in _links(chain):
        if sequence != head.sequence + 1:
            raise BadArchiveError(f"chain.txt has a gap after entry {head.sequence}")
        if left.pop(sequence, content) != content:
            raise BadArchiveError(f"entry {sequence} in audit.jsonl is not the one in the chain")
        head = Head(sequence, link_hash(sequence, head.hash, content))
    if left:
        raise BadArchiveError(f"entry {min(left)} in audit.jsonl is not in the chain")
    if str(head) != manifest["audit_head"]:
        raise BadArchiveError("the chain does not lead to the head that is signed")


def _links(chain: str) -> Iterator[tuple[int, str]]:
    for line in chain.splitlines():
        sequence, _, content = line.partition(" ")
        yield int(sequence), content
