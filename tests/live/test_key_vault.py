"""The key vault on a real PostgreSQL: intake, cases, releases, its log, and what it does with whatever should not be."""

import contextlib
import hashlib
import json
import secrets
import socket
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from services.key_deposit.envelope import authority_key, open_envelope, parse, seal
from tests.live.key_vault_site import (
    ANNA,
    APPLICATION,
    BORIS,
    CLARA,
    DORA,
    OWNER,
    PUBLIC_HOST,
    SERVER_NAME,
    PostgreSQL,
    Vault,
    VaultSite,
    case_request,
    running_database,
    serving,
    write_site,
)
from tests.live.processes import LOOPBACK, free_ports, wait_for

pytestmark = pytest.mark.live

MALLORY = f"@mallory:{SERVER_NAME}"
TABLES = ("audit_entry", "recovery_key", '"case"', "case_step")
LISTENERS = ("intake", "officer", "access", "metrics")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    with running_database() as server:
        yield server


@pytest.fixture(scope="module")
def site(database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> VaultSite:
    site = write_site(tmp_path_factory.mktemp("key-vault"), database)
    site.command("migrate", user=OWNER)
    return site


@pytest.fixture(scope="module")
def vault(site: VaultSite) -> Iterator[Vault]:
    with serving(site) as vault:
        yield vault


def log(database: PostgreSQL) -> list[dict[str, object]]:
    """The contents of all entries, in order."""
    with database.connect() as connection:
        return [json.loads(row[0]) for row in connection.execute("SELECT content FROM audit_entry ORDER BY sequence")]


def user() -> str:
    """Somebody who has no keys and is in no case yet."""
    return f"@u{secrets.token_hex(6)}:{SERVER_NAME}"


# --- The tables


def test_a_second_migration_changes_nothing(site: VaultSite) -> None:
    assert "No migrations to apply" in site.command("migrate", user=OWNER).stdout


def test_the_vault_is_ready_on_each_listener(vault: Vault) -> None:
    for listener in LISTENERS:
        assert vault.ask(listener, "GET", "/health/live").status == 200
        assert vault.ask(listener, "GET", "/health/ready").json() == {"ready": True, "problem": None}


@pytest.mark.parametrize("table", TABLES)
def test_the_servers_role_can_add_rows_and_neither_change_nor_remove_them(database: PostgreSQL, vault: Vault, table: str) -> None:
    vault.deposit(user())
    vault.open_case()
    column = {"audit_entry": "content", "recovery_key": "envelope", '"case"': "reference", "case_step": "reason"}[table]
    with database.connect("key_vault") as connection:
        for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        for statement in (f"ALTER TABLE {table} DISABLE TRIGGER ALL", f"DROP TABLE {table}", "CREATE TABLE mine (a int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize("table", TABLES)
def test_the_owner_is_stopped_by_the_triggers(database: PostgreSQL, vault: Vault, table: str) -> None:
    vault.deposit(user())
    vault.open_case()
    with database.connect(OWNER) as connection:
        for statement in (f"UPDATE {table} SET {'content' if table == 'audit_entry' else 'id'} = DEFAULT", f"DELETE FROM {table}"):
            with pytest.raises(psycopg.Error, match=r"only ever added|violates|identity"):
                connection.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
            connection.execute(f"DELETE FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
            connection.execute(f"TRUNCATE {table} CASCADE")


def test_a_superuser_who_plays_replica_is_stopped_too(database: PostgreSQL, vault: Vault) -> None:
    vault.deposit(user())
    with database.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
            connection.execute("UPDATE recovery_key SET envelope = 'x'")


def test_the_database_refuses_an_entry_that_does_not_follow_the_newest(database: PostgreSQL, vault: Vault) -> None:
    vault.deposit(user())
    with database.connect("key_vault") as connection:
        newest = connection.execute("SELECT sequence, hash FROM audit_entry ORDER BY sequence DESC LIMIT 1").fetchone()
        assert newest is not None
        insert = "INSERT INTO audit_entry (sequence, content, previous, hash) VALUES (%s, '{}', %s, %s)"
        for sequence, previous, message in (
            (newest[0], "1" * 64, "does not follow"),
            (newest[0] + 2, newest[1], "does not follow"),
            (newest[0] + 1, "1" * 64, "does not follow"),
            (newest[0] + 1, newest[1], "hash of entry"),
        ):
            with pytest.raises(psycopg.errors.CheckViolation, match=message):
                connection.execute(insert, [sequence, previous, "2" * 64])


def test_the_database_refuses_an_approval_by_who_requested(database: PostgreSQL, vault: Vault) -> None:
    case_id = vault.request_case().json()["id"]
    insert = "INSERT INTO case_step (case_id, step, officer, at, reason) VALUES (%s, %s, %s, now(), 'x')"
    with database.connect("key_vault") as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match="cannot decide"):
            connection.execute(insert, [case_id, "approve", ANNA])
        with pytest.raises(psycopg.errors.CheckViolation, match="not approved"):
            connection.execute(insert, [case_id, "open", ANNA])


def test_a_server_with_the_owners_role_is_not_ready(site: VaultSite) -> None:
    with serving_beside(site, user=OWNER) as owner:
        answer = owner.ask("metrics", "GET", "/health/ready")
    assert answer.status == 503
    assert "this role may change" in answer.json()["problem"]


# --- Intake


def test_a_key_is_kept_as_ciphertext_that_only_the_authority_opens(database: PostgreSQL, vault: Vault) -> None:
    target = user()
    assert vault.deposit(target).status == 201
    with database.connect() as connection:
        row = connection.execute("SELECT envelope, envelope_sha256 FROM recovery_key WHERE user_id = %s", [target]).fetchone()
    assert row is not None
    assert open_envelope(row[0], vault.site.authority_private_key) == "EsTc recovery key"
    assert hashlib.sha256(row[0].encode()).hexdigest() == row[1]
    assert "EsTc" not in vault.program.output()


def test_the_same_key_of_the_same_user_is_kept_once(database: PostgreSQL, vault: Vault) -> None:
    target, fingerprint = user(), secrets.token_hex(32)
    answers = [vault.deposit(target, fingerprint) for _ in range(3)]
    assert [(answer.status, answer.json()) for answer in answers] == [(201, {"stored": True}), *[(200, {"stored": False})] * 2]
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM recovery_key WHERE user_id = %s", [target]).fetchone() == (1,)


def test_a_replayed_request_changes_nothing(database: PostgreSQL, vault: Vault) -> None:
    target = user()
    envelope = seal("EsTc", vault.site.authority, user_id=target, secret_storage_key_id="a", sealed_at=1).compact
    bodies = [json.dumps({"user_id": target, "fingerprint": secrets.token_hex(32), "envelope": envelope}).encode() for _ in range(2)]
    before = None
    for body, status in ((bodies[0], 201), (bodies[0], 200), (bodies[1], 200)):
        assert vault.deposit_raw(body).status == status
        before = before or len(log(database))
    assert len(log(database)) == before


def test_deposits_of_one_key_at_the_same_moment_are_kept_once(vault: Vault) -> None:
    target, fingerprint = user(), secrets.token_hex(32)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda _: vault.deposit(target, fingerprint), range(16)))
    assert statuses == [200] * 15 + [201]


def test_a_user_cannot_fill_the_vault(vault: Vault) -> None:
    target = user()
    statuses = [vault.deposit(target).status for _ in range(12)]
    assert statuses == [201] * 10 + [429] * 2
    assert vault.deposit(user()).status == 201


@pytest.mark.parametrize("token", ["", "x", "Bearer", "ä" * 40, "0" * 4000])
def test_a_wrong_token_is_refused(vault: Vault, database: PostgreSQL, token: str) -> None:
    before, counted = len(log(database)), vault.metric('key_vault_untrusted_requests_total{listener="intake"}')
    headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1"), "Content-Type": "application/json"}
    assert vault.ask("intake", "POST", "/v1/recovery-keys", b"{}", headers).status == 401
    assert vault.ask("intake", "POST", "/v1/recovery-keys", b"{}").status == 401
    # It is counted, and not put into the log, which anybody could fill then.
    assert vault.metric('key_vault_untrusted_requests_total{listener="intake"}') == counted + 2
    assert len(log(database)) == before


def test_a_token_of_one_listener_is_none_of_another(vault: Vault) -> None:
    tokens = {name: vault.site.token(name) for name in ("intake", "proxy", "access")}
    for name in ("proxy", "access"):
        assert vault.deposit(user(), token=tokens[name]).status == 401
    for name in ("intake", "proxy"):
        assert vault.access(ANNA, "GET", "/_synapse/admin/v1/server_version", token=tokens[name]).status == 401
    for name in ("intake", "access"):
        assert vault.officer(ANNA, "GET", "/api/v1/cases", **{"X-Key-Vault-Proxy-Token": tokens[name]}).status == 401


def test_what_one_listener_serves_no_other_does(vault: Vault) -> None:
    hop = {
        "Authorization": f"Bearer {vault.site.token('intake')}",
        "X-Auth-Request-User": ANNA,
        "X-Key-Vault-Proxy-Token": vault.site.token("proxy"),
    }
    for path in ("/", "/api/v1/cases", "/metrics", "/v1/access"):
        assert vault.ask("intake", "GET", path, None, hop).status == 404
    for path in ("/metrics", "/v1/access", "/v1/recovery-keys"):
        assert vault.ask("officer", "GET", path, None, hop).status == 404
    for path in ("/", "/api/v1/cases", "/v1/recovery-keys"):
        assert vault.ask("metrics", "GET", path, None, hop).status == 404


def forged(vault: Vault, **changes: object) -> bytes:
    target = user()
    envelope = seal("EsTc", vault.site.authority, user_id=target, secret_storage_key_id="a", sealed_at=1).compact
    return json.dumps({"user_id": target, "fingerprint": "ab" * 32, "envelope": envelope, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 20_000,
        b'{"user_id":"@a:example.org","fingerprint":"x","envelope":"a.b.c.d.e"}',
        {"user_id": "mallory"},
        {"user_id": "@other:example.org"},
        {"user_id": None},
        {"fingerprint": "AB" * 32},
        {"fingerprint": "ab" * 31},
        {"envelope": "x" * 9000},
        {"envelope": "a.b.c.d.e"},
        {"envelope": ""},
        {"extra": 1},
    ],
)
def test_what_is_no_deposit_is_refused_and_not_quoted(vault: Vault, database: PostgreSQL, body: "bytes | dict[str, object]") -> None:
    before = len(log(database))
    answer = vault.deposit_raw(body if isinstance(body, bytes) else forged(vault, **body))
    assert answer.status in (400, 422), answer
    assert b"mallory" not in answer.body
    assert b"xxxx" not in answer.body
    assert len(log(database)) == before


def test_an_oversized_body_is_refused_unread(vault: Vault) -> None:
    assert vault.deposit_raw(b"x" * 70_000).status == 413


def test_a_body_that_never_comes_holds_up_nobody(vault: Vault) -> None:
    head = (
        f"POST /v1/recovery-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {vault.site.token('intake')}\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((LOOPBACK, vault.site.ports["intake"])) as stalled:
        stalled.sendall(head.encode())
        started = time.monotonic()
        assert vault.deposit(user()).status == 201
        assert time.monotonic() - started < 5


def test_an_envelope_for_a_key_that_is_not_the_authoritys_is_refused(vault: Vault) -> None:
    stranger = authority_key(rsa.generate_private_key(public_exponent=65537, key_size=3072).public_key())
    answer = vault.deposit(user(), key=stranger)
    assert (answer.status, answer.json()["code"]) == (422, "envelope")


# --- The trusted hop


def test_an_officer_is_believed_only_with_the_proxys_token(vault: Vault) -> None:
    assert vault.ask("officer", "GET", "/api/v1/cases", None, {"X-Auth-Request-User": CLARA}).status == 401
    assert vault.officer(CLARA, "GET", "/api/v1/cases").status == 200


@pytest.mark.parametrize("claimed", ["eve@authority.example", "", f"{ANNA},{CLARA}", ANNA.upper(), f"{ANNA}@x"])
def test_whoever_is_no_officer_is_refused_and_recorded(vault: Vault, database: PostgreSQL, claimed: str) -> None:
    answer = vault.officer(claimed, "GET", "/api/v1/cases")
    assert (answer.status, answer.json()["code"]) == (403, "unknown-officer")
    if claimed and "," not in claimed:
        assert log(database)[-1]["detail"] == {"claimed": claimed, "path": "/api/v1/cases"}


@pytest.mark.parametrize("second", ["X-Auth-Request-User", "x-auth-request-user", "X_Auth_Request_User"])
def test_a_second_header_changes_nobodys_name(vault: Vault, second: str) -> None:
    lines = [
        "GET /api/v1/cases HTTP/1.1",
        f"Host: {PUBLIC_HOST}",
        f"X-Key-Vault-Proxy-Token: {vault.site.token('proxy')}",
        f"X-Auth-Request-User: {ANNA}",
        f"{second}: {CLARA}",
        "Connection: close",
    ]
    with socket.create_connection((LOOPBACK, vault.site.ports["officer"]), timeout=10) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    # With an underscore it is another header, which the server drops; twice the same is refused.
    assert answer.startswith(b"HTTP/1.1 200" if "_" in second else b"HTTP/1.1 403")
    case_of_others = vault.request_case(BORIS, acting=[BORIS]).json()["id"]
    assert case_of_others.encode() not in answer


def test_a_page_that_is_asked_for_under_another_name_is_refused(vault: Vault) -> None:
    assert vault.officer(ANNA, "GET", "/", Host="evil.example").status == 421


def test_a_form_of_another_site_is_refused(vault: Vault) -> None:
    case_id = vault.request_case().json()["id"]
    path = f"/cases/{case_id}/approve"
    assert vault.officer(CLARA, "POST", path, {"reason": "x"}).status == 403
    assert (
        vault.officer(CLARA, "POST", f"/api/v1{path}", {"reason": "x"}, **{"Content-Type": "text/plain"}).json()["code"] == "content-type"
    )
    assert (
        vault.officer(CLARA, "POST", f"/api/v1{path}", {"reason": "x"}, **{"Sec-Fetch-Site": "cross-site"}).json()["code"] == "cross-site"
    )
    assert vault.officer(CLARA, "GET", f"/api/v1/cases/{case_id}").json()["status"] == "requested"


def test_every_answer_forbids_scripts_frames_and_caches(vault: Vault) -> None:
    for path in ("/", "/nope", "/api/v1/cases", "/style.css"):
        headers = vault.officer(ANNA, "GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


# --- Cases


def test_a_case_is_requested_by_one_and_approved_by_another_and_then_keys_are_released(vault: Vault, database: PostgreSQL) -> None:
    target = user()
    vault.deposit(target)
    case = vault.request_case(targets=[target]).json()
    assert case["status"] == "requested"
    assert vault.release(ANNA, case["id"], target).json()["code"] == "case-not-open"
    assert vault.step(CLARA, case["id"], "approve").json()["status"] == "approved"
    assert vault.release(ANNA, case["id"], target).json()["code"] == "case-not-open"
    assert vault.step(ANNA, case["id"], "open").json()["status"] == "open"
    released = vault.release(ANNA, case["id"], target).json()
    assert [open_envelope(one["envelope"], vault.site.authority_private_key) for one in released] == ["EsTc recovery key"]
    assert vault.step(ANNA, case["id"], "close").json()["status"] == "closed"
    assert vault.release(ANNA, case["id"], target).json()["code"] == "case-not-open"
    events = [entry["event"] for entry in log(database) if entry.get("case") == case["id"]]
    refused = "keys.released.refused"
    assert events == ["case.requested", refused, "case.approve", refused, "case.open", "keys.released", "case.close", refused]


def test_who_requests_a_case_cannot_approve_it(vault: Vault, database: PostgreSQL) -> None:
    case_id = vault.request_case(BORIS).json()["id"]
    answer = vault.step(BORIS, case_id, "approve")
    assert (answer.status, answer.json()["code"]) == (403, "four-eyes")
    newest = log(database)[-1]
    assert (newest["event"], newest["officer"], newest["case"]) == ("case.approve.refused", BORIS, case_id)


def test_who_acts_under_a_case_cannot_approve_it(vault: Vault) -> None:
    case_id = vault.request_case(ANNA, acting=[ANNA, BORIS]).json()["id"]
    assert vault.step(BORIS, case_id, "approve").json()["code"] == "four-eyes"


def test_one_officer_alone_reads_nothing(vault: Vault) -> None:
    target = user()
    vault.deposit(target)
    case_id = vault.request_case(BORIS, acting=[BORIS], targets=[target]).json()["id"]
    assert [vault.step(BORIS, case_id, step).status for step in ("approve", "open")] == [403, 409]
    assert vault.release(BORIS, case_id, target).status == 403


def test_two_approvals_at_the_same_moment_are_one(vault: Vault) -> None:
    case_id = vault.request_case().json()["id"]
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda _: vault.step(CLARA, case_id, "approve"), range(8)))
    assert statuses == [200] + [409] * 7


def test_a_rejection_is_final(vault: Vault) -> None:
    case_id = vault.request_case().json()["id"]
    assert vault.step(CLARA, case_id, "reject").json()["status"] == "rejected"
    assert vault.step(CLARA, case_id, "approve").json()["code"] == "wrong-state"


def test_the_end_of_the_window_ends_the_case_and_is_recorded(vault: Vault, database: PostgreSQL) -> None:
    target = user()
    vault.deposit(target)
    case_id = vault.open_case(targets=[target], seconds=2)
    assert vault.release(ANNA, case_id, target).status == 200
    time.sleep(2.2)
    assert vault.release(ANNA, case_id, target).json()["code"] == "case-not-open"
    assert vault.officer(ANNA, "GET", f"/api/v1/cases/{case_id}").json()["status"] == "expired"
    assert vault.step(ANNA, case_id, "close").status == 409
    assert [entry["officer"] for entry in log(database) if entry["event"] == "case.expire" and entry["case"] == case_id] == ["system"]


def test_a_case_is_not_opened_before_its_window(vault: Vault) -> None:
    case_id = vault.request_case(delay=1000).json()["id"]
    assert vault.step(CLARA, case_id, "approve").status == 200
    assert vault.step(ANNA, case_id, "open").json()["code"] == "outside-window"


def test_the_wrong_case_releases_nothing(vault: Vault) -> None:
    target, other = user(), user()
    vault.deposit(target)
    vault.open_case(targets=[target])
    wrong = vault.open_case(targets=[other])
    assert vault.release(ANNA, wrong, target).json()["code"] == "not-a-target"


@pytest.mark.parametrize("officer", [BORIS, CLARA, DORA])
def test_who_does_not_act_under_a_case_gets_no_key_of_it(vault: Vault, officer: str) -> None:
    target = user()
    vault.deposit(target)
    case_id = vault.open_case(targets=[target])
    assert vault.release(officer, case_id, target).json()["code"] == "not-on-case"


def test_a_case_of_others_looks_like_one_that_does_not_exist(vault: Vault, database: PostgreSQL) -> None:
    case_id = vault.request_case(BORIS, acting=[BORIS]).json()["id"]
    real = vault.officer(ANNA, "GET", f"/api/v1/cases/{case_id}")
    none = vault.officer(ANNA, "GET", "/api/v1/cases/00000000-0000-4000-8000-000000000000")
    assert (
        (real.status, real.body)
        == (none.status, none.body)
        == (404, b'{"code": "unknown-case", "detail": "There is no such case for you."}')
    )
    assert log(database)[-1]["detail"] == {"claimed_case": "00000000-0000-4000-8000-000000000000", "code": "unknown-case"}
    assert case_id not in [case["id"] for case in vault.officer(ANNA, "GET", "/api/v1/cases").json()]
    assert case_id in [case["id"] for case in vault.officer(DORA, "GET", "/api/v1/cases").json()]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targets": ["@mallory:elsewhere.org"]}, "no-target"),
        ({"acting": [CLARA]}, "no-investigator"),
        ({"seconds": -10}, "window"),
        ({"seconds": 91 * 86400}, "window"),
        ({"delay": -20, "seconds": 10}, "window"),
        ({"targets": []}, "invalid"),
        ({"targets": [MALLORY] * 101}, "invalid"),
        ({"extra": 1}, "invalid"),
        ({"AuthorisationTimespan": {"StartTime": "2026-01-01T00:00:00", "EndTime": "2026-01-02T00:00:00"}}, "invalid"),
    ],
)
def test_a_request_that_must_not_be_is_refused(vault: Vault, change: "dict[str, Any]", code: str) -> None:
    answer = vault.request_case(**change)
    assert (answer.status, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("text", ["a\nb", "a\0b", " a", "a\u2028b", "\u202eevil", "x" * 501, ""])
def test_what_would_look_like_something_else_on_a_page_is_refused(vault: Vault, text: str) -> None:
    order = {**case_request()["order"], "AuthorisationReference": text}
    assert vault.request_case(order=order).status == 422


# --- The question of synapse-li's proxy


ADMIN = "/_synapse/admin"


def test_an_admin_read_of_a_target_is_allowed_and_recorded(vault: Vault, database: PostgreSQL) -> None:
    target = user()
    case_id = vault.open_case(targets=[target])
    uri = f"{ADMIN}/v2/users/{quote(target)}"
    answer = vault.access(ANNA, "GET", uri)
    assert (answer.status, answer.headers["x-key-vault-case"]) == (204, case_id)
    newest = log(database)[-1]
    assert (newest["event"], newest["officer"], newest["case"]) == ("access.allowed", ANNA, case_id)
    assert newest["detail"] == {"method": "GET", "uri": uri, "target": target, "subject": target}


@pytest.mark.parametrize(
    ("officer", "method", "uri", "code"),
    [
        (ANNA, "GET", f"{ADMIN}/v2/users/%40alice%3Aexample.org", "no-open-case"),
        (BORIS, "GET", f"{ADMIN}/v2/users/TARGET", "no-open-case"),
        (CLARA, "GET", f"{ADMIN}/v2/users/TARGET", "no-open-case"),
        ("eve@authority.example", "GET", f"{ADMIN}/v2/users/TARGET", "unknown-officer"),
        (ANNA, "POST", f"{ADMIN}/v1/users/TARGET/login", "not-on-list"),
        (ANNA, "DELETE", f"{ADMIN}/v2/rooms/%21room%3Aexample.org", "not-on-list"),
        (ANNA, "GET", f"{ADMIN}/v2/users", "not-on-list"),
        (ANNA, "GET", f"{ADMIN}/v1/rooms/%21room%3Aexample.org/messages", "no-open-case"),
    ],
)
def test_an_admin_read_that_no_open_case_covers_is_refused_and_recorded(
    vault: Vault, database: PostgreSQL, officer: str, method: str, uri: str, code: str
) -> None:
    target = user()
    vault.open_case(targets=[target])
    asked = uri.replace("TARGET", quote(target))
    answer = vault.access(officer, method, asked)
    assert (answer.status, answer.json()["code"]) == (403, code)
    newest = log(database)[-1]
    assert (newest["event"], newest["officer"], newest["detail"]) == (
        "access.allowed.refused",
        officer,
        {"code": code, "method": method, "uri": asked},
    )


def test_a_room_that_is_a_target_can_be_read(vault: Vault) -> None:
    room = f"!{secrets.token_hex(8)}:{SERVER_NAME}"
    vault.open_case(targets=[room])
    assert vault.access(ANNA, "GET", f"{ADMIN}/v1/rooms/{quote(room)}/messages?dir=b").status == 204


def test_an_admin_read_after_the_case_was_closed_is_refused_with_its_reason(vault: Vault) -> None:
    target = user()
    case_id = vault.open_case(targets=[target])
    vault.step(ANNA, case_id, "close")
    assert vault.access(ANNA, "GET", f"{ADMIN}/v2/users/{quote(target)}").json()["code"] == "case-not-open"


def test_what_concerns_nobody_is_allowed_to_officers(vault: Vault) -> None:
    assert vault.access(ANNA, "GET", f"{ADMIN}/v1/server_version").status == 204
    assert vault.access("eve@authority.example", "GET", f"{ADMIN}/v1/server_version").status == 403


@pytest.mark.parametrize("headers", [{}, {"X-Original-Method": "GET"}, {"X-Original-URI": "/"}])
def test_a_question_without_method_or_address_is_refused(vault: Vault, headers: "dict[str, str]") -> None:
    hop = {"Authorization": f"Bearer {vault.site.token('access')}", "X-Auth-Request-User": ANNA}
    assert vault.ask("access", "GET", "/v1/access", None, {**hop, **headers}).status == 422


# --- The log


def test_writers_at_the_same_moment_make_one_chain(vault: Vault, site: VaultSite) -> None:
    case_id = vault.open_case(targets=[MALLORY])
    uri = f"{ADMIN}/v2/users/{quote(MALLORY)}"
    with serving_beside(site) as other, ThreadPoolExecutor(16) as pool:
        # Two servers, as with two replicas: deposits, steps that are refused, and reads.
        jobs = [
            lambda one: one.deposit(user()).status,
            lambda one: one.access(ANNA, "GET", uri).status,
            lambda one: one.step(CLARA, case_id, "approve").status,
        ]
        statuses = set(pool.map(lambda i: jobs[i % 3]((vault, other)[i % 2]), range(150)))
    assert statuses == {201, 204, 409}
    assert "whole: " in site.command("verify-audit").stdout


def serving_beside(site: VaultSite, user: str = APPLICATION) -> contextlib.AbstractContextManager[Vault]:
    """Another server on the same database, as a second replica is."""
    ports = dict(zip(LISTENERS, free_ports(4), strict=True))
    variables = {f"KEY_VAULT_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    return serving(VaultSite(site.folder, ports, {**site.environment, **variables}, site.authority_private_key), user)


def test_a_writer_that_dies_in_the_middle_leaves_nothing_and_holds_up_nobody(database: PostgreSQL, vault: Vault) -> None:
    before = len(log(database))
    connection = database.connect("key_vault")
    connection.autocommit = False
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [0x6B65795F7661756C])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vault.deposit, user())
        time.sleep(0.5)
        assert not waiting.done()
        connection.close()
        assert waiting.result(10).status == 201
    assert len(log(database)) == before + 1


def test_a_lock_that_is_never_given_back_is_an_answer_within_the_time_limit(database: PostgreSQL, vault: Vault) -> None:
    with database.connect("key_vault") as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [0x6B65795F7661756C])
        started = time.monotonic()
        answer = vault.deposit(user())
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
        assert 9 < time.monotonic() - started < 20
    assert vault.deposit(user()).status == 201


def test_every_head_is_published_and_the_log_contains_them(vault: Vault, site: VaultSite, database: PostgreSQL, tmp_path: Path) -> None:
    vault.deposit(user())
    count = len(log(database))
    shipped = tmp_path / "shipped.log"
    wait_for(lambda: f"audit-head {count}:" in vault.program.output(), 5, "the newest head to be published")
    shipped.write_text(vault.program.output())
    done = site.command("verify-audit", "--heads", str(shipped))
    assert f"whole: {count} entries, " in done.stdout
    assert "published head(s) among them" in done.stdout


# --- Exports


def test_an_export_is_verified_without_the_vault_and_holds_what_was_read(vault: Vault, site: VaultSite, tmp_path: Path) -> None:
    target = user()
    vault.deposit(target)
    case_id = vault.open_case(targets=[target])
    released = vault.release(ANNA, case_id, target).json()
    vault.access(ANNA, "GET", f"{ADMIN}/v2/users/{quote(target)}")
    vault.open_case(targets=[f"@secret-of-another-case:{SERVER_NAME}"])
    answer = vault.officer(DORA, "POST", f"/api/v1/cases/{case_id}/archive/export", {"reason": "for the court"})
    assert answer.status == 200
    file, key = tmp_path / "case.zip", tmp_path / "key.pem"
    file.write_bytes(answer.body)
    key.write_text(site.command("public-key").stdout)
    nothing: dict[str, Any] = {"KEY_VAULT_SETTINGS": "/nowhere"}
    arguments = ("verify-archive", "--public-key", str(key), "--extract-envelopes", str(tmp_path / "keys"), str(file))
    done = site.command(*arguments, **nothing)
    assert f"whole: case {case_id}" in done.stdout
    compact = (tmp_path / "keys" / f"{released[0]['sha256']}.jwe").read_text()
    assert parse(compact).user_id == target
    with zipfile.ZipFile(file) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        assert b"access.allowed" in content
        assert b"secret-of-another-case" not in content
        damaged = {name: archive.read(name) for name in archive.namelist()}
    damaged["audit.jsonl"] = damaged["audit.jsonl"].replace(b"access.allowed", b"access.denied!")
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in damaged.items():
            archive.writestr(name, data)
    assert "audit.jsonl has been changed" in site.command(*arguments, expect=1, **nothing).stderr


def test_who_may_not_see_a_case_cannot_export_it(vault: Vault) -> None:
    case_id = vault.request_case(BORIS, acting=[BORIS]).json()["id"]
    assert vault.officer(ANNA, "POST", f"/api/v1/cases/{case_id}/archive/export", {"reason": "x"}).status == 404


# --- When the database is away


def test_without_its_database_the_vault_lives_is_not_ready_and_recovers(tmp_path: Path) -> None:
    with running_database() as database:
        site = write_site(tmp_path, database)
        site.command("migrate", user=OWNER)
        with serving(site) as vault:
            assert vault.deposit(user()).status == 201
            with database.connect() as connection:
                connection.execute("ALTER ROLE key_vault NOLOGIN")
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'key_vault'")
                assert vault.ask("metrics", "GET", "/health/ready").status == 503
                assert vault.ask("metrics", "GET", "/health/live").status == 200
                assert vault.deposit(user()).status == 503
                assert vault.metric("key_vault_database_up") == 0
                page = vault.officer(ANNA, "GET", "/", Accept="text/html")
                assert (page.status, b"Something went wrong" in page.body) == (503, True)
                connection.execute("ALTER ROLE key_vault LOGIN")
            assert vault.deposit(user()).status == 201
            assert vault.ask("metrics", "GET", "/health/ready").status == 200
