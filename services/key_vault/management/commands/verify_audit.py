"""`verify-audit`: proves that the audit log is whole, and that the other tables say what it says."""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from services.key_deposit.envelope import parse
from services.key_vault import audit, ledger, operations, record
from services.key_vault.audit import EMPTY, BrokenChainError, Head
from services.key_vault.cases import Case
from services.key_vault.models import AuditEntry, StoredCase, StoredKey

_STEP_EVENT = re.compile(r"case\.(approve|reject|open|close|expire)")


class Command(BaseCommand):
    """Reads all of the log and says whether it is whole. Exit code 1 and the place where it is not."""

    help = "Proves that the audit log is whole. Without published heads it cannot see that the log's end was cut off, or that it was made anew."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The heads that were published."""
        parser.add_argument("--head", action="append", default=[], metavar="SEQUENCE:HASH", help="a head that was published earlier")
        parser.add_argument(
            "--heads", action="append", default=[], metavar="FILE", help="a log of the vault, with its heads; - is standard input"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Verify, and say what was found."""
        try:
            published = [*map(Head.parse, options["head"]), *_shipped(options["heads"])]
        except (OSError, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    cursor.execute("SET LOCAL statement_timeout = 0")
                head = verify_all(published)
        except BrokenChainError as error:
            self.stderr.write(f"NOT WHOLE: {error}")
            sys.exit(1)
        checked = f"{len(set(published))} published head(s) among them" if published else "no published head was given: its end is unproven"
        self.stdout.write(f"whole: {head.sequence} entries, {checked}; head {head}")


def verify_all(published: list[Head]) -> Head:
    """Verify the log and hold the tables to it. Raises BrokenChainError."""
    head, deposits = EMPTY, dict[str, dict[str, Any]]()
    by_case = dict[str, list[dict[str, Any]]]()
    columns = dict(AuditEntry.objects.exclude(case_id=None).values_list("sequence", "case_id"))
    for entry in audit.verify(ledger.entries(), published):
        head, document = entry.head, entry.document()
        if str(columns.pop(entry.sequence, None)) != str(document.get("case")):
            raise BrokenChainError(f"entry {entry.sequence} is filed under another case than its content names")
        if document["event"] == "key.deposited":
            deposits[document["detail"]["key"]["id"]] = document["detail"]["key"]
        elif document["event"] == "case.requested" or _STEP_EVENT.fullmatch(document["event"]):
            by_case.setdefault(document["case"], []).append(document)
    _check_keys(deposits)
    _check_cases(by_case)
    return head


def _check_keys(deposits: dict[str, dict[str, Any]]) -> None:
    for stored in StoredKey.objects.iterator():
        if deposits.pop(str(stored.id), None) != record.of_deposit(stored):
            raise BrokenChainError(f"recovery key {stored.id} is not the one that was deposited")
        if _envelope_sha256(stored.envelope) != stored.envelope_sha256:
            raise BrokenChainError(f"the envelope of recovery key {stored.id} has been changed")
    if deposits:
        raise BrokenChainError(f"recovery key {min(deposits)} was deposited and is missing")


def _check_cases(documents: dict[str, list[dict[str, Any]]]) -> None:
    logged = {identifier: record.to_case(entries) for identifier, entries in documents.items()}
    for stored in StoredCase.objects.prefetch_related("steps"):
        if _comparable(logged.pop(str(stored.id), None)) != _comparable(operations.loaded(stored)):
            raise BrokenChainError(f"case {stored.id} is not as the log says")
    if logged:
        raise BrokenChainError(f"case {min(logged)} was requested and is missing")


def _comparable(case: Case | None) -> tuple[Any, ...] | None:
    return None if case is None else (case.id, record.of_request(case), case.steps)


def _envelope_sha256(compact: str) -> str | None:
    try:
        return parse(compact).sha256
    except ValueError:
        return None


def _shipped(files: list[str]) -> Iterator[Head]:
    for file in files:
        if file == "-":
            yield from audit.published_heads(sys.stdin)
        else:
            with Path(file).open(encoding="utf-8", errors="replace") as lines:
                yield from audit.published_heads(lines)
