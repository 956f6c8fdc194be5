"""`verify-audit` on a real database that somebody with all rights has changed behind the vault's back."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from attrs import frozen

from tests.live.key_vault_site import ANNA, OWNER, SERVER_NAME, PostgreSQL, VaultSite, running_database, serving, write_site
from tests.live.processes import wait_for

pytestmark = pytest.mark.live

TARGET = f"@mallory:{SERVER_NAME}"
UNGUARDED = """
    ALTER TABLE audit_entry DISABLE TRIGGER ALL; ALTER TABLE recovery_key DISABLE TRIGGER ALL;
    ALTER TABLE "case" DISABLE TRIGGER ALL; ALTER TABLE case_step DISABLE TRIGGER ALL;
"""


@frozen
class Used:
    """A vault that has been used and stopped, and the log that it shipped."""

    database: PostgreSQL
    site: VaultSite
    shipped: Path

    def changed(self, *statements: str) -> str:
        """A copy of the database on which somebody with all rights has run statements; its name."""
        name = f"copy_{secrets.token_hex(4)}"
        with self.database.connect(database="postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE key_vault OWNER {OWNER}")
        with self.database.connect(database=name) as connection:
            connection.execute(UNGUARDED)
            for statement in statements:
                connection.execute(statement)
        return name

    def verify(self, database: str, *arguments: str) -> tuple[int, str]:
        done = self.site.command("verify-audit", *arguments, expect=None, KEY_VAULT_DATABASE_NAME=database)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    folder = tmp_path_factory.mktemp("tampering")
    with running_database() as database:
        site = write_site(folder, database)
        site.command("migrate", user=OWNER)
        with serving(site) as vault:
            for _ in range(3):
                vault.deposit(TARGET)
            case_id = vault.open_case(targets=[TARGET])
            vault.release(ANNA, case_id, TARGET)
            vault.access(ANNA, "GET", f"/_synapse/admin/v2/users/{TARGET}")
            vault.step(ANNA, case_id, "close")
            vault.request_case()
            wait_for(lambda: "audit-head 10:" in vault.program.output(), 10, "the newest head to be published")
            shipped = folder / "shipped.log"
            shipped.write_text(
                "".join(json.dumps({"pod": "key-vault-0", "log": line}) + "\n" for line in vault.program.output().splitlines())
            )
        yield Used(database, site, shipped)


def test_a_log_that_nobody_touched_is_whole(used: Used) -> None:
    code, said = used.verify(used.changed(), "--heads", str(used.shipped))
    assert (code, said.startswith("whole: 10 entries, 11 published head(s)")) == (0, True), said


ONE = "id = (SELECT id FROM recovery_key LIMIT 1)"
LINK = (
    'encode(sha256(convert_to(format(\'{"content":"%s","previous":"%s","sequence":%s}\', '
    "encode(sha256(convert_to(content, 'UTF8')), 'hex'), previous, sequence), 'UTF8')), 'hex')"
)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["UPDATE audit_entry SET content = overlay(content placing 'X' from 20 for 1) WHERE sequence = 4"], "entry 4 has been changed"),
        (["UPDATE audit_entry SET hash = overlay(hash placing CASE WHEN hash LIKE '0%' THEN '1' ELSE '0' END from 1 for 1) WHERE sequence = 4"],
         "entry"),
        (["UPDATE audit_entry SET previous = repeat('f', 64) WHERE sequence = 4"], "entry 4 does not follow"),
        # Whoever knows how the hash is made mends it, and finds that it stands in the next entry too.
        (["UPDATE audit_entry SET content = replace(content, 'anna', 'anne') WHERE sequence = 6",
          f"UPDATE audit_entry SET hash = {LINK} WHERE sequence = 6"],
         "entry 7 does not follow"),
        (["DELETE FROM audit_entry WHERE sequence = 5"], "entry 5 is missing"),
        (["DELETE FROM audit_entry WHERE sequence = 1"], "entry 1 is missing"),
        (["DELETE FROM audit_entry WHERE sequence = 5", "UPDATE audit_entry SET sequence = sequence - 1 WHERE sequence > 5"],
         "entry 5 does not follow"),
        (["UPDATE audit_entry SET sequence = 99 WHERE sequence = 4", "UPDATE audit_entry SET sequence = 4 WHERE sequence = 5",
          "UPDATE audit_entry SET sequence = 5 WHERE sequence = 99"], "entry 4 does not follow"),
        (["UPDATE audit_entry SET case_id = NULL WHERE sequence = 4"], "entry 4 is filed under another case"),
        ([f"UPDATE recovery_key SET user_id = '@alice:example.org' WHERE {ONE}"], "is not the one that was deposited"),
        ([f"UPDATE recovery_key SET envelope = overlay(envelope placing 'AA' from length(envelope) - 1 for 2) WHERE {ONE}"],
         "has been changed"),
        ([f"DELETE FROM recovery_key WHERE {ONE}"], "was deposited and is missing"),
        (["""UPDATE "case" SET targets = '["@mallory:example.org", "@alice:example.org"]'"""], "is not as the log says"),
        (["""UPDATE "case" SET "end" = "end" + interval '1 year'"""], "is not as the log says"),
        (["UPDATE case_step SET officer = 'boris@authority.example' WHERE step = 'approve'"], "is not as the log says"),
        (["DELETE FROM case_step WHERE step = 'close'"], "is not as the log says"),
        (["DELETE FROM case_step", 'DELETE FROM "case"'], "was requested and is missing"),
    ],
)  # fmt: skip
def test_what_was_changed_behind_the_vaults_back_is_found(used: Used, statements: list[str], message: str) -> None:
    code, said = used.verify(used.changed(*statements))
    assert (code, message in said) == (1, True), said


def test_an_end_that_was_cut_off_is_found_by_the_heads_that_were_shipped(used: Used) -> None:
    # The newest entry records a request: whoever takes it out takes the case out too, and leaves no trace in the database.
    copy = used.changed("DELETE FROM audit_entry WHERE sequence = 10", 'DELETE FROM "case" WHERE id NOT IN (SELECT case_id FROM case_step)')
    code, said = used.verify(copy)
    assert (code, "its end is unproven" in said) == (0, True), said
    code, said = used.verify(copy, "--heads", str(used.shipped))
    assert (code, "it has been cut off" in said) == (1, True), said


def test_a_log_that_was_made_anew_is_found_by_one_head(used: Used) -> None:
    anew = f"""
        DO $$ DECLARE before text := repeat('0', 64); one record; BEGIN
          FOR one IN SELECT sequence FROM audit_entry ORDER BY sequence LOOP
            UPDATE audit_entry SET content = replace(content, '"court"', '"judge"'), previous = before WHERE sequence = one.sequence;
            UPDATE audit_entry SET content = replace(content, '"salt":"', '"salt":"0') WHERE sequence = one.sequence;
            UPDATE audit_entry SET hash = {LINK} WHERE sequence = one.sequence RETURNING hash INTO before;
          END LOOP;
        END $$
    """
    copy = used.changed(anew)
    code, said = used.verify(copy)
    assert (code, said.startswith("whole: 10")) == (0, True), said
    with used.database.connect() as connection:
        row = connection.execute("SELECT sequence || ':' || hash FROM audit_entry WHERE sequence = 3").fetchone()
    assert row is not None
    code, said = used.verify(copy, "--head", row[0])
    assert (code, "made anew" in said) == (1, True), said


def test_a_head_that_is_none_is_wrong_usage(used: Used) -> None:
    assert used.verify("key_vault", "--head", "nonsense")[0] == 2
    assert used.verify("key_vault", "--heads", "/nowhere")[0] == 2


def test_a_vault_whose_triggers_are_off_is_not_ready(used: Used) -> None:
    variables = {"KEY_VAULT_DATABASE_NAME": used.changed()}
    with serving(
        VaultSite(used.site.folder, used.site.ports, {**used.site.environment, **variables}, used.site.authority_private_key)
    ) as vault:
        answer = vault.ask("metrics", "GET", "/health/ready")
    assert answer.status == 503
    assert "trigger" in answer.json()["problem"]


def test_the_server_itself_cannot_do_any_of_this(used: Used) -> None:
    with used.database.connect("key_vault") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER ALL")
