"""What the check of a PostgreSQL that others run says of a real one: each lack, with what to do, and nothing where all is there."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.kustomize import ROOT
from tests.live.certificates import Authority, authority
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, free_ports
from tests.live.programs import made, postgresql_programs

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

OWNER, PASSWORD = "synapse", "what-they.gave~us_1"


@frozen
class Server:
    """A PostgreSQL with TLS, by an authority."""

    port: int
    by: Authority

    def sql(self, statement: str) -> None:
        """What its administrator does."""
        where = f"host={LOOPBACK} port={self.port} user=administrator password=of-all dbname=postgres"
        command = [str(postgresql_programs() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", where, "--command", statement]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    by, (port,) = authority("enterprise"), free_ports(1)
    certificate, key = by.issue("localhost")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Its user must reach the folder.
        folder.chmod(0o755)
        for file, text in (("tls.crt", certificate), ("tls.key", key)):
            (folder / file).write_text(text)
            (folder / file).chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(folder / file, "postgres", "postgres")
        tls = {"ssl": "on", "ssl_cert_file": f"{folder}/tls.crt", "ssl_key_file": f"{folder}/tls.key"}
        with running_postgresql(port, "administrator", "of-all", max_connections=50, **tls):
            found = Server(port, by)
            found.sql(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'")
            found.sql(f"CREATE DATABASE synapse OWNER {OWNER} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")
            yield found


Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(server: Server, tmp_path: Path) -> Said:
    """What the program prints: with another authority, host or client than is right."""

    def ask(*, by: Authority | None = None, password: str = PASSWORD, connections: int = 40, **other: Any) -> tuple[int, str]:
        client = {"database": "synapse", "user": OWNER, "locale_c": True, "extensions": []} | other.pop("client", {})
        host, port = other.get("host", "localhost"), other.get("port", server.port)
        (tmp_path / "pgpass").write_text(f"{host}:{port}:{client['database']}:{client['user']}:{password}\n")
        (tmp_path / "ca.crt").write_text((by or server.by).certificate)
        request = {"host": host, "port": port, "authority": f"{tmp_path}/ca.crt", "connections": connections}
        (tmp_path / "request.json").write_text(json.dumps(request | {"clients": [client | {"password_file": f"{tmp_path}/pgpass"}]}))
        command = [made(ROOT / ".venv-live" / "bin" / "python"), "-m", "services.database_check.check", f"{tmp_path}/request.json"]
        run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, cwd=ROOT)
        assert password not in run.stdout + run.stderr
        return run.returncode, run.stdout + run.stderr

    return ask


def test_a_database_that_has_everything_is_told_so(said: Said) -> None:
    code, text = said()
    assert (code, text.count("\n")) == (0, 1), text
    assert "has all that it needs" in text


WRONG: Mapping[str, tuple[dict[str, Any], str]] = {
    "authority": ({"by": authority("stranger")}, "put that one there"),
    "name": ({"host": LOOPBACK}, "give in postgresql.external.host the one that it has"),
    "password": ({"password": "another-one-than-that"}, "the Secret needs the one that it knows"),
    "connections": ({"connections": 60}, "raise max_connections by 13 or more"),
    "database": ({"client": {"database": "nothing"}}, "create it: CREATE ROLE"),
    "name of the server": ({"host": "nowhere.invalid"}, "DNS does not know it"),
    "port": ({"port": 1}, "nothing listens there"),
}


@pytest.mark.parametrize(("wrong", "advice"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_with_the_way_there_is_said_with_what_to_do(said: Said, wrong: dict[str, Any], advice: str) -> None:
    code, text = said(**wrong)
    assert code == 1
    assert advice in text


SPOILT: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "encoding": (
        "CREATE DATABASE other OWNER synapse ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
        "DROP DATABASE other",
        {"database": "other"},
        "has the encoding SQL_ASCII, not UTF8; it has to be created anew",
    ),
    "locale": (
        "CREATE DATABASE other OWNER synapse ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
        "DROP DATABASE other",
        {"database": "other"},
        "has LC_COLLATE C.UTF-8 and LC_CTYPE C.UTF-8, not C; it has to be created anew",
    ),
    "owner": (
        "CREATE DATABASE other ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0",
        "DROP DATABASE other",
        {"database": "other"},
        "ALTER DATABASE other OWNER TO synapse",
    ),
    "limit of the role": (
        "ALTER ROLE synapse CONNECTION LIMIT 10",
        "ALTER ROLE synapse CONNECTION LIMIT -1",
        {},
        "is limited to 10 connections, and this profile opens up to 40",
    ),
    "standby": (
        "ALTER ROLE synapse SET default_transaction_read_only = on",
        "ALTER ROLE synapse RESET default_transaction_read_only",
        {},
        "the name that leads to the primary",
    ),
    "extension": ("SELECT 1", "SELECT 1", {"extensions": ["no_such_extension"]}, "lacks the extension no_such_extension"),
}


@pytest.mark.parametrize(("spoil", "mend", "client", "advice"), SPOILT.values(), ids=list(SPOILT))
def test_what_a_database_lacks_is_said_with_what_to_do(
    said: Said, server: Server, spoil: str, mend: str, client: dict[str, Any], advice: str
) -> None:
    server.sql(spoil)
    try:
        code, text = said(client=client)
    finally:
        server.sql(mend)
    assert code == 1
    assert advice in text


def test_a_database_of_another_locale_is_enough_for_who_does_not_mind(said: Said, server: Server) -> None:
    server.sql("CREATE DATABASE other OWNER synapse ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0")
    try:
        code, text = said(client={"database": "other", "locale_c": False, "extensions": ["plpgsql"]})
    finally:
        server.sql("DROP DATABASE other")
    assert code == 0, text
