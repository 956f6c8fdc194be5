"""Alloy's configuration: whose lines go where, and that no secret leaves a pod with them."""

import re

import pytest
import yaml

from kit.files import text
from main_instance.synapse.configuration import log_config
from monitoring.alloy.configuration import KEPT, LEVEL, SECRETS, AlloySpec, alloy_config
from monitoring.loki.configuration import AUDIT, PLATFORM

SPEC = AlloySpec(("matrix", "matrix-li"), "http://loki:3100", ("matrix-li",), ("key-vault",))

SAID = {
    '{"log":"GET /sync","access_token":"syt_YWxpY2U_AbCdEfGhIjKlMnOpQrSt_1a2b3c"}': "syt_YWxpY2U_AbCdEfGhIjKlMnOpQrSt_1a2b3c",
    "GET /_matrix/client/v3/sync?access_token=MDAxOGxvY2F0&since=s1 HTTP/1.1": "MDAxOGxvY2F0",
    "Authorization: Bearer mat_abcdefghijklmnopqrstuvwxyz_1234": "mat_abcdefghijklmnopqrstuvwxyz_1234",
    "proxy said Basic cm9vdDpyb290LXBhc3N3b3Jk": "cm9vdDpyb290LXBhc3N3b3Jk",
    r'{"log":"body {\"type\": \"m.login.password\", \"password\": \"correct horse\"}"}': "correct horse",
    '{"refresh_token": "mcr_abcdefghijklmnop"}': "mcr_abcdefghijklmnop",
    "token eyJhbGciOiJIUzI1NiJ9x.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4": "SflKxwRJSMeKKF2QT4",
    "GET /media/x?X-Amz-Signature=0123456789abcdef&X-Amz-Date=1": "0123456789abcdef",
    "/login/cas/ticket?loginToken=abcdef123456": "abcdef123456",
}

PLAIN = (
    '{"log":"203.0.113.1 - 8008 - {@bob:example.com} Processed request: 0.027sec/0.000sec 28B 200 \\"GET /_matrix/client/v3/sync HTTP/1.1\\"",'
    '"namespace":"synapse.access.http.8008","level":"INFO","time":1795659738.46,"request":"GET-8a86ebf5"}',
    "1:M 26 Nov 2026 02:20:47.006 * Synchronization with replica 198.19.0.106:6379 succeeded",
    '2026-11-26 02:22:24.888 GMT [326] FATAL:  role "app" does not exist',
    "a basic example, and a bearer of news",
    "the password of alice was changed",
)


def redacted(line: str) -> str:
    """What the stages make of a line: each group of each match is taken out."""
    for pattern in SECRETS:
        for found in reversed(list(re.finditer(pattern, line))):
            line = f"{line[: found.start(1)]}<redacted>{line[found.end(1) :]}"
    return line


@pytest.mark.parametrize(("line", "secret"), SAID.items())
def test_a_secret_does_not_leave_the_pod(line: str, secret: str) -> None:
    assert secret not in redacted(line)
    assert "<redacted>" in redacted(line)


@pytest.mark.parametrize("line", PLAIN)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redacted(line) == line


def test_every_pattern_has_one_group_and_no_quote_that_ends_it() -> None:
    for pattern in (*SECRETS, LEVEL):
        assert re.compile(pattern).groups == 1
        assert "`" not in pattern


def test_a_level_is_the_first_word_of_that_kind() -> None:
    assert re.findall(LEVEL, PLAIN[2])[:1] == ["FATAL"]
    assert re.findall(LEVEL, PLAIN[1]) == []


def test_lines_of_lawful_interception_go_to_a_tenant_of_their_own() -> None:
    config = alloy_config(SPEC)
    rules = re.findall(r'source_labels = \["(\w+)"\]\n +regex +\= `([^`]+)`\n +replacement +\= "(\w+)"', config)
    assert rules == [("namespace", "matrix-li", AUDIT), ("job", "key-vault", AUDIT)]
    assert f'replacement  = "{PLATFORM}"' in config
    assert config.index(f'"{PLATFORM}"') < config.index(f'"{AUDIT}"'), "the last rule counts"
    assert AUDIT not in alloy_config(AlloySpec(("matrix",), "http://loki:3100", (), ()))


def test_a_line_is_called_by_few_labels() -> None:
    """Each combination of labels is a stream of its own: what is different in every line belongs into the line."""
    assert [label for label, _ in KEPT] == ["namespace", "pod", "container", "job"]


def test_lines_wait_for_loki_as_long_as_it_takes() -> None:
    assert "max_backoff_retries = 0" in alloy_config(SPEC)


def test_synapse_logs_json_with_ids_of_requests_and_never_sql() -> None:
    """TerseJsonFormatter writes the request of the context; at DEBUG, SQL has access tokens in it (synapse/storage/database.py)."""
    config = yaml.safe_load(yaml.safe_dump(log_config("DEBUG")))
    assert config["formatters"]["line"]["class"] == "synapse.logging.TerseJsonFormatter"
    assert config["loggers"]["synapse.storage.SQL"]["level"] == "WARNING"


def test_the_template_stands_beside_the_component() -> None:
    assert "loki.source.kubernetes" in text("monitoring.alloy", "config.alloy.j2")
