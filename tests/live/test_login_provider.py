"""A person logs in at a real identity provider, by the configuration that a site's providers become: its claims, its group, its secret.

One Synapse process does all of it; that the processes of a platform reach the provider through the policies, test_login_platform.py shows.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from attrs import evolve, frozen

from main_instance.login.configuration import CLIENT_SECRET, secret_name
from main_instance.login.options import LoginOptions, ProviderOptions
from main_instance.synapse.configuration import homeserver_config, main_config
from main_instance.synapse.workers import WORKER_TYPES
from tests.kustomize import ROOT
from tests.live.certificates import authority
from tests.live.processes import LOOPBACK, Program, free_ports, running
from tests.live.synapse_site import homeserver_spec, synapse_python, write_files

pytestmark = pytest.mark.live

SECRET = "what-only-they-and-we-know"
PEOPLE = {
    "1001": {"preferred_username": "alice", "name": "Alice Example", "email": "alice@example.org", "groups": ["matrix-users"]},
    "1002": {"preferred_username": "mallory", "name": "Mallory Example", "groups": ["guests"]},
    # A claim that is null is none of the values that would do.
    "1003": {"preferred_username": "trent", "name": "Trent Example", "groups": None},
    "1004": {"preferred_username": "victor", "name": "Victor Example"},
}
HEADERS = {"Host": "matrix.example.org", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
"""As the ingress controller sends them on."""


@frozen
class Site:
    """A homeserver and the provider beside it."""

    url: str
    database: Path
    authority: Path
    provider: Program

    def browse(self, sub: str) -> requests.Response:
        """As a browser would, of a person who is `sub` at the provider: Synapse's last answer."""
        start = f"{self.url}/_matrix/client/v3/login/sso/redirect/oidc-corporate?redirectUrl=https%3A%2F%2Fapp.example.com%2F"
        answer = requests.get(start, headers=HEADERS, allow_redirects=False, timeout=60)
        assert answer.status_code == 302, answer.text[:300]
        cookies = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
        said = requests.post(answer.headers["Location"], data={"sub": sub}, allow_redirects=False, timeout=30, verify=str(self.authority))
        assert said.status_code in (302, 303), said.text[:300]
        back = urlsplit(said.headers["Location"])
        assert (back.scheme, back.netloc, back.path) == ("https", "matrix.example.org", "/_synapse/client/oidc/callback")
        return requests.get(
            f"{self.url}{back.path}?{back.query}", headers={**HEADERS, "Cookie": cookies}, allow_redirects=False, timeout=60
        )

    def log_in(self, page: str) -> tuple[int, Any]:
        """With the token that a page leads back to the client with."""
        link = next(part for part in page.split('"') if part.startswith("https://app.example.com/?"))
        (token,) = parse_qs(urlsplit(link.replace("&amp;", "&")).query)["loginToken"]
        body = {"type": "m.login.token", "token": token}
        answer = requests.post(f"{self.url}/_matrix/client/v3/login", json=body, headers=HEADERS, timeout=60)
        return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, (port, provider_port) = tmp_path_factory.mktemp("synapse"), free_ports(2)
    corporate = authority("corporate")
    certificate, key = corporate.issue("localhost")
    (folder / "authorities.pem").write_text(corporate.certificate)
    given = {"port": provider_port, "certificate": certificate, "key": key, "client": "matrix", "secret": SECRET, "people": PEOPLE}
    (folder / "given.json").write_text(json.dumps(given))
    options = ProviderOptions(
        issuer=f"https://localhost:{provider_port}",
        client_id="matrix",
        display_name="Example account",
        required_claims=(("groups", ("matrix-users", "administrators")),),
    )
    spec = evolve(homeserver_spec(folder), login=LoginOptions(passwords=False, providers=(("corporate", options),)))
    write_files(folder, spec, {worker.name: 1 for worker in WORKER_TYPES})
    # The line end that an editor puts behind a secret is no part of it.
    (folder / "login" / secret_name("corporate") / CLIENT_SECRET).write_text(f"{SECRET}\n")
    # One process for all, with a database of its own; what concerns logins stays as it is rendered.
    changes = {
        "database": {"name": "sqlite3", "args": {"database": f"{folder}/homeserver.db"}},
        "redis": {"enabled": False},
        "stream_writers": {},
        "instance_map": {},
        "listeners": [
            {"type": "http", "port": port, "bind_addresses": [LOOPBACK], "x_forwarded": True, "resources": [{"names": ["client"]}]}
        ],
        "pid_file": f"{folder}/pid",
    }
    (folder / "one.yaml").write_text(yaml.safe_dump(homeserver_config(spec) | main_config(spec) | changes))
    python, environment = synapse_python(), {"PYTHONPATH": str(ROOT)}
    serve = ["/bin/sh", "-c", f"exec {python} -m tests.live.counterparts.identity_provider < {folder}/given.json"]
    command = [python, "-m", "synapse.app.homeserver", "-c", f"{folder}/one.yaml"]
    trust = {"SSL_CERT_FILE": f"{folder}/authorities.pem", "SSL_CERT_DIR": "/etc/ssl/certs"}
    with running(serve, name="provider", environment=environment, folder=ROOT) as provider:
        provider.ready(lambda: "ready" in provider.output(), 60)
        with running(command, name="synapse", environment=trust, folder=folder) as synapse:
            url = f"http://{LOOPBACK}:{port}"
            synapse.ready(lambda: _alive(url), 90)
            yield Site(url, folder / "homeserver.db", folder / "authorities.pem", provider)


def _alive(url: str) -> bool:
    try:
        return requests.get(f"{url}/_matrix/client/versions", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_clients_are_offered_the_provider_and_no_password(site: Site) -> None:
    flows = requests.get(f"{site.url}/_matrix/client/v3/login", timeout=30).json()["flows"]
    found = {flow["type"]: flow for flow in flows}
    assert [provider["name"] for provider in found["m.login.sso"]["identity_providers"]] == ["Example account"]
    assert "m.login.password" not in found


def test_a_person_of_the_group_logs_in_with_what_the_provider_says_of_them(site: Site) -> None:
    page = site.browse("1001")
    assert page.status_code == 200, page.text[:500]
    status, session = site.log_in(page.text)
    assert (status, session["user_id"]) == (200, "@alice:example.org"), session
    headers = {**HEADERS, "Authorization": f"Bearer {session['access_token']}"}
    profile = requests.get(f"{site.url}/_matrix/client/v3/profile/@alice:example.org", headers=headers, timeout=30).json()
    assert profile["displayname"] == "Alice Example"
    with closing(sqlite3.connect(site.database)) as database:
        assert database.execute("SELECT auth_provider, external_id FROM user_external_ids").fetchall() == [("oidc-corporate", "1001")]
        assert database.execute("SELECT address FROM user_threepids").fetchall() == [("alice@example.org",)]


@pytest.mark.parametrize("sub", ["1002", "1003", "1004"], ids=["another group", "null", "no claim"])
def test_a_person_who_is_not_of_the_group_is_refused(site: Site, sub: str) -> None:
    page = site.browse(sub)
    assert page.status_code == 400
    assert "You are not allowed to log in here." in page.text
    assert "loginToken" not in page.text


def test_the_provider_is_asked_with_the_secret_of_the_site(site: Site) -> None:
    site.browse("1001")
    assert "token request of matrix: known" in site.provider.output()
    assert "unknown" not in site.provider.output()
