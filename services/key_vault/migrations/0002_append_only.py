"""What the database itself sees to: rows are only added, the log is a chain, nobody approves what they requested or act under.

The application's role gets SELECT and INSERT and no more. It does not own the tables, so it cannot take the triggers off.
"""

import os

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from services.key_vault.configuration import ConfigurationError, read_source

TABLES = ("audit_entry", "recovery_key", "case", "case_step")

FUNCTIONS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION check_audit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  newest record;
  content_digest text := encode(sha256(convert_to(NEW.content, 'UTF8')), 'hex');
BEGIN
  PERFORM pg_advisory_xact_lock(7738724985621017964);
  SELECT sequence, hash INTO newest FROM audit_entry ORDER BY sequence DESC LIMIT 1;
  IF NEW.sequence IS DISTINCT FROM coalesce(newest.sequence, 0) + 1 OR NEW.previous IS DISTINCT FROM coalesce(newest.hash, repeat('0', 64)) THEN
    RAISE EXCEPTION 'entry % does not follow the newest', NEW.sequence USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.hash IS DISTINCT FROM encode(sha256(convert_to(
    format('{"content":"%s","previous":"%s","sequence":%s}', content_digest, NEW.previous, NEW.sequence), 'UTF8')), 'hex') THEN
    RAISE EXCEPTION 'the hash of entry % is wrong', NEW.sequence USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION check_four_eyes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.step IN ('approve', 'reject') AND EXISTS (
    SELECT FROM "case" WHERE id = NEW.case_id AND (requested_by = NEW.officer OR acting ? NEW.officer)
  ) THEN
    RAISE EXCEPTION 'who has requested a case or acts under it cannot decide on it' USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.step = 'open' AND NOT EXISTS (SELECT FROM case_step WHERE case_id = NEW.case_id AND step = 'approve') THEN
    RAISE EXCEPTION 'a case that is not approved cannot be opened' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER chain BEFORE INSERT ON audit_entry FOR EACH ROW EXECUTE FUNCTION check_audit_entry();
CREATE TRIGGER four_eyes BEFORE INSERT ON case_step FOR EACH ROW EXECUTE FUNCTION check_four_eyes();
ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER chain;
ALTER TABLE case_step ENABLE ALWAYS TRIGGER four_eyes;
"""

GUARD = """
CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON "{table}" FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_table BEFORE TRUNCATE ON "{table}" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER append_only_rows;
ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER append_only_table;
REVOKE ALL ON "{table}" FROM PUBLIC;
"""


def guard(_: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    source = read_source(os.environ)
    role = source.text("application_role", None, r"[a-z_][a-z0-9_]{0,62}")
    source.close()
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT rolname = current_user FROM pg_roles WHERE rolname = %s", [role])
        found = cursor.fetchone()
        if found is None or found[0]:
            problem = "does not exist: create it" if found is None else "is the role that migrates: serve with another one"
            raise ConfigurationError(f"application_role: the role {role} {problem}; it gets SELECT and INSERT only")
    editor.execute(FUNCTIONS, params=None)
    for table in TABLES:
        editor.execute(GUARD.format(table=table), params=None)
        editor.execute(f'GRANT SELECT, INSERT ON "{table}" TO "{role}"')
    editor.execute(f'GRANT SELECT ON django_migrations TO "{role}"')


class Migration(migrations.Migration):
    dependencies = [("key_vault", "0001_initial")]
    operations = [migrations.RunPython(guard, elidable=False)]
