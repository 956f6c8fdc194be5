"""The audit log in the database. Whoever writes anything holds its lock, so there is one order of all that happens, and the chain cannot fork."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from services.key_vault import audit, logs
from services.key_vault.audit import EMPTY, Entry, Head
from services.key_vault.models import AuditEntry

_LOCK = 0x6B65795F7661756C  # "key_vaul", as a 64-bit number
_CHUNK = 1000


def hold() -> datetime:
    """Take the log's lock until the transaction ends, and return the database's time, which is the same for all writers.

    Raises OperationalError when others hold it for longer than `lock_timeout`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def head() -> Head:
    """The newest entry."""
    newest = AuditEntry.objects.order_by("-sequence").values_list("sequence", "hash").first()
    return Head(*newest) if newest else EMPTY


def append(moment: datetime, event: str, *, officer: str | None = None, case: UUID | None = None, **detail: Any) -> Head:
    """Add an entry; its head is published when the transaction has been committed. The caller holds the lock (`hold`)."""
    fields: dict[str, Any] = {"detail": detail}
    if officer is not None:
        fields["officer"] = officer
    if case is not None:
        fields["case"] = str(case)
    entry = audit.next_entry(head(), moment, event, fields)
    AuditEntry.objects.create(sequence=entry.sequence, content=entry.content, previous=entry.previous, hash=entry.hash, case_id=case)
    transaction.on_commit(lambda: logs.publish(entry.head))
    return entry.head


def entries(first: int = 1, last: int | None = None) -> Iterator[Entry]:
    """The entries from a number to another, in order, as they are stored."""
    rows = AuditEntry.objects.filter(sequence__gte=first).order_by("sequence")
    for row in (rows if last is None else rows.filter(sequence__lte=last)).iterator(chunk_size=_CHUNK):
        yield _entry(row)


def of_case(case: UUID) -> list[Entry]:
    """The entries of one case, in order."""
    return [_entry(row) for row in AuditEntry.objects.filter(case_id=case).order_by("sequence")]


def _entry(row: AuditEntry) -> Entry:
    return Entry(row.sequence, row.content, row.previous, row.hash)
