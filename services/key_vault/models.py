"""The tables. Rows are only ever added: the database refuses everything else (migrations/0002)."""

from datetime import datetime  # in annotations that are text: Django's classes take no parameters at run time
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.db import models

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class AuditEntry(models.Model):
    """One entry of the audit log (audit.py). `case_id` repeats what the content says, to be found by it."""

    sequence: "models.BigIntegerField[int, int]" = models.BigIntegerField(primary_key=True)
    content: "models.TextField[str, str]" = models.TextField()
    previous: "models.CharField[str, str]" = models.CharField(max_length=64, unique=True)
    hash: "models.CharField[str, str]" = models.CharField(max_length=64, unique=True)
    case_id: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(null=True, db_index=True)

    class Meta:
        db_table = "audit_entry"


class StoredKey(models.Model):
    """A recovery key as ciphertext for the authority. `fingerprint`: by which it is known that the same key of the same user comes again."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=uuid4)
    user_id: "models.CharField[str, str]" = models.CharField(max_length=255, db_index=True)
    fingerprint: "models.CharField[str, str]" = models.CharField(max_length=64)
    authority_key_id: "models.CharField[str, str]" = models.CharField(max_length=64)
    envelope: "models.TextField[str, str]" = models.TextField()
    envelope_sha256: "models.CharField[str, str]" = models.CharField(max_length=64, unique=True)
    deposited_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()

    class Meta:
        db_table = "recovery_key"
        constraints = (models.UniqueConstraint(fields=("user_id", "fingerprint", "authority_key_id"), name="recovery_key_once"),)


class StoredCase(models.Model):
    """A case as it was requested. `acting` and `targets` are its officers' ids and what it covers."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=uuid4)
    reference: "models.TextField[str, str]" = models.TextField()
    legal_type: "models.TextField[str, str]" = models.TextField()
    legal_entity: "models.TextField[str, str]" = models.TextField()
    document_name: "models.TextField[str, str]" = models.TextField()
    document_sha256: "models.TextField[str, str]" = models.TextField()
    manual_information: "models.TextField[str, str]" = models.TextField()
    targets: "models.JSONField[list[str], list[str]]" = models.JSONField()
    acting: "models.JSONField[list[str], list[str]]" = models.JSONField()
    start: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    end: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    requested_by: "models.TextField[str, str]" = models.TextField()
    requested_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()

    steps: "RelatedManager[StoredStep]"

    class Meta:
        db_table = "case"


class StoredStep(models.Model):
    """A step that was taken with a case; each kind once."""

    case_id: UUID
    case: "models.ForeignKey[StoredCase, StoredCase]" = models.ForeignKey(StoredCase, models.PROTECT, related_name="steps")
    step: "models.CharField[str, str]" = models.CharField(max_length=16)
    officer: "models.TextField[str, str]" = models.TextField()
    at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    reason: "models.TextField[str, str]" = models.TextField()

    class Meta:
        db_table = "case_step"
        constraints = (models.UniqueConstraint(fields=("case", "step"), name="case_step_once"),)
