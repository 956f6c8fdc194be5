"""The proxy of the lawful-intercept instance: HAProxy with the rendered files, a real key vault behind it, and a homeserver that answers 200."""

import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from kit.network import Endpoint, Pods, Port
from li_instance.access_proxy.configuration import CASES, HOMESERVER, OPERATIONS, AccessProxySpec, configuration
from tests.live.key_vault_site import ANNA, PUBLIC_HOST, Answer, Vault, running_database, serving, write_site
from tests.live.processes import LOOPBACK, free_ports, running, wait_for
from tests.live.programs import haproxy_program

MALLORY = "@mallory:example.org"
READ_USER = f"/_synapse/admin/v2/users/{quote(MALLORY)}"
"""What an officer may read under an open case: it is about the case's target."""


class Homeserver(BaseHTTPRequestHandler):
    """Says what it was asked."""

    def do_GET(self) -> None:
        body = json.dumps({"asked": f"{self.command} {self.path}", "headers": sorted(name.lower() for name in self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


@frozen
class Doors:
    """The proxy's ports, and the vault behind it."""

    vault: Vault
    ports: dict[int, int]
    address: str = LOOPBACK

    def ask(self, officer: str | None, method: str, path: str, port: int = HOMESERVER, headers: Mapping[str, str] | None = None) -> Answer:
        """A request as the ingress hands it on: with what it says of the certificate."""
        shown = {} if officer is None else {"X-Forwarded-Tls-Client-Cert-Info": quote(f'Subject="CN={officer}"', safe="")}
        connection = http.client.HTTPConnection(self.address, self.ports[port], timeout=20)
        try:
            connection.request(method, path, headers={"Host": PUBLIC_HOST, **shown, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


def endpoint(port: int) -> Endpoint:
    return Endpoint(Pods("", "", ()), LOOPBACK, port, Port("http", port))


@contextmanager
def open_doors(folder: Path, address: str = LOOPBACK) -> Iterator[Doors]:
    """Run all of it for the time of a block, with its files below `folder`. `address`: where the proxy listens."""
    program, secrets = haproxy_program(), folder / "vault"
    secrets.mkdir()
    with running_database() as database, ThreadingHTTPServer((LOOPBACK, 0), Homeserver) as homeserver:
        threading.Thread(target=homeserver.serve_forever, daemon=True).start()
        site = write_site(secrets, database)
        site.command("migrate", user="key_vault_owner")
        with serving(site) as vault:
            ports = dict(zip((HOMESERVER, CASES, OPERATIONS, 8010), free_ports(4), strict=True))
            server = endpoint(homeserver.server_port)
            spec = AccessProxySpec(server, server, endpoint(site.ports["officer"]), endpoint(site.ports["access"]), server)
            for name, text in configuration(spec).items():
                (folder / name).write_text(on_this_machine(text, ports, site.folder, address))
            with running([program, "-db", "-f", str(folder / "haproxy.cfg")], name="haproxy", folder=folder):
                found = Doors(vault, ports, address)
                wait_for(lambda: found.ask(None, "GET", "/live", port=OPERATIONS).status == 200, 20, "the proxy")
                wait_for(lambda: found.ask(ANNA, "GET", "/_matrix/client/versions").status == 200, 20, "its backends")
                yield found
        homeserver.shutdown()


def on_this_machine(text: str, ports: Mapping[int, int], secrets: Path, address: str = LOOPBACK) -> str:
    """The same file, with this machine's ports, addresses in place of names, and the tokens where the vault has them."""
    for port, own in ports.items():
        text = re.sub(rf":{port}\b", f":{own}", text)
        text = text.replace(f"bind :{own}", f"bind {address}:{own}")
    text = text.replace(f"{LOOPBACK}.:", f"{LOOPBACK}:").replace("resolvers cluster init-addr none init-state down resolve-prefer ipv4", "")
    return text.replace("/secrets/li-proxy/", f"{secrets}/")
