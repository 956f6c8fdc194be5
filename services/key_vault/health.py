"""Whether the process lives, and whether it can do its work: the tables are there, and the role it uses cannot change them."""

from django.db import DEFAULT_DB_ALIAS, Error, connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from services.key_vault import logs, metrics
from services.key_vault.models import AuditEntry, StoredCase, StoredKey, StoredStep

TABLES = tuple(model._meta.db_table for model in (AuditEntry, StoredKey, StoredCase, StoredStep))

_MIGHT_CHANGE = """
    SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = current_schema AND relname = ANY(%s)
      AND (has_table_privilege(pg_class.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') OR pg_has_role(relowner, 'MEMBER'))
"""
_GUARDED = """
    SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE tgname IN ('append_only_rows', 'append_only_table') AND tgenabled = 'A' AND relname = ANY(%s)
"""


def live(_: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"alive": True})


def ready(_: HttpRequest) -> HttpResponse:
    """200, or 503 with what is missing."""
    try:
        wrong = problem()
    except Error as error:
        wrong = f"the database does not answer: {type(error).__name__}"
    if wrong:
        logs.event(f"not ready: {wrong}")
    return JsonResponse({"ready": wrong is None, "problem": wrong}, status=503 if wrong else 200)


def problem() -> str | None:
    """What stands in the way of serving. Raises django.db.Error."""
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return "the tables are missing or of an older version: run `python -m services.key_vault migrate` as their owner"
    with connection.cursor() as cursor:
        cursor.execute(_MIGHT_CHANGE, [list(TABLES)])
        if changeable := [row[0] for row in cursor.fetchall()]:
            return f"this role may change {', '.join(changeable)}: serve with a role that neither owns the tables nor may update them"
        cursor.execute(_GUARDED, [list(TABLES)])
        if cursor.fetchone()[0] != 2 * len(TABLES):
            return "a trigger that keeps the tables append-only is missing or switched off: find out who did that, then run migrate"
    return None


def exposition(_: HttpRequest) -> HttpResponse:
    """Prometheus' metrics."""
    return HttpResponse(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
