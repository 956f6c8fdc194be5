"""The vault's three APIs, each held to its own description by schemathesis, in every shape that the description allows and forbids."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.key_vault_site import CLARA, OWNER, PUBLIC_HOST, Vault, running_database, serving, write_site
from tests.live.processes import LOOPBACK

pytestmark = pytest.mark.live

OPENAPI = {"intake": "/openapi.json", "access": "/openapi.json", "officer": "/api/v1/openapi.json"}
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_database() as database:
        site = write_site(tmp_path_factory.mktemp("key-vault"), database, deposits_per_day=1000)
        site.command("migrate", user=OWNER)
        with serving(site) as vault:
            yield vault


def hop(vault: Vault, listener: str) -> dict[str, str]:
    if listener == "officer":
        # An approver: their steps are refused less often.
        return {"Host": PUBLIC_HOST, "X-Key-Vault-Proxy-Token": vault.site.token("proxy"), "X-Auth-Request-User": CLARA}
    return {"Authorization": f"Bearer {vault.site.token(listener)}", "X-Auth-Request-User": CLARA}


@pytest.mark.parametrize("listener", sorted(OPENAPI))
def test_the_api_does_what_its_description_says_and_nothing_else(vault: Vault, listener: str, tmp_path: Path) -> None:
    vault.open_case()
    before = vault.program.output().count("Internal Server Error")
    description = vault.ask(listener, "GET", OPENAPI[listener], None, hop(vault, listener))
    assert description.status == 200
    (tmp_path / "openapi.json").write_bytes(description.body)
    # 431 is gunicorn's word for a header that is too long.
    refusals = ["400", "401", "403", "404", "409", "413", "422", "431"]
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {refusals}\n")
    headers = [word for name, value in hop(vault, listener).items() for word in ("--header", f"{name}: {value}")]
    url = f"http://{LOOPBACK}:{vault.site.ports[listener]}"
    command = ["run", "openapi.json", "--url", url, *headers, "--checks", CHECKS, "--max-examples", "40", "--seed", "1", "--no-color"]
    done = subprocess.run(
        [Path(sys.executable).parent / "schemathesis", *command], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed, done.stdout[-4000:]
    assert passed[1] == passed[2]
    assert int(passed[1]) >= 30
    assert vault.program.output().count("Internal Server Error") == before
    assert vault.ask("metrics", "GET", "/health/ready").status == 200


@pytest.mark.parametrize("listener", sorted(OPENAPI))
def test_the_description_is_not_given_to_strangers(vault: Vault, listener: str) -> None:
    assert vault.ask(listener, "GET", OPENAPI[listener], None, {"Host": PUBLIC_HOST}).status == 401


def test_after_all_that_the_log_is_whole(vault: Vault) -> None:
    assert vault.site.command("verify-audit").stdout.startswith("whole: ")


def test_an_answer_to_bad_input_does_not_quote_it(vault: Vault) -> None:
    word = f"secret{secrets.token_hex(8)}"
    body = json.dumps({"user_id": word, "fingerprint": word, "envelope": word}).encode()
    answer = vault.deposit_raw(body)
    assert (answer.status, word.encode() in answer.body) == (422, False)
    assert word not in vault.program.output()
