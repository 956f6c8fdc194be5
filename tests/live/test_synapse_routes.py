"""The routes of the worker records, against the servlets that Synapse registers on those very workers with the files that we render."""

import itertools
import json
import re
import string
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kit.network import Port
from main_instance.authentication_service.component import LOGIN_ROUTES
from main_instance.synapse.configuration import HomeserverSpec
from main_instance.synapse.options import FederationOptions, HomeserverOptions
from main_instance.synapse.worker_type import Route, WorkerType
from main_instance.synapse.workers import MAIN, MAS_HELPER, WORKER_TYPES
from tests.live.regular_expressions import examples
from tests.live.saml import saml_provider
from tests.live.synapse_site import homeserver_spec, service, synapse_python, write_files
from tests.routing import DELEGATED, route

pytestmark = pytest.mark.live

# Synapse registers some paths only when a feature is on: all that our routes know of are on here.
SINGLE_SIGN_ON = {
    "cas_config": {"enabled": True, "server_url": "https://cas.example.org"},
    "saml2_config": {
        "sp_config": {"metadata": {"inline": [saml_provider("https://saml.example.org", "https://saml.example.org/sso").metadata]}},
        "user_mapping_provider": {"config": {}},
    },
    "oidc_providers": [
        {
            "idp_id": "company",
            "idp_name": "Company",
            "issuer": "https://id.example.org/",
            "client_id": "synapse",
            "client_auth_method": "none",
            "discover": False,
            "authorization_endpoint": "https://id.example.org/authorize",
            "token_endpoint": "https://id.example.org/token",
            "userinfo_endpoint": "https://id.example.org/userinfo",
            "jwks_uri": "https://id.example.org/keys",
            "scopes": ["openid"],
            "backchannel_logout_enabled": True,
            "user_mapping_provider": {"config": {"localpart_template": "{{ user.sub }}"}},
        }
    ],
}

# What any worker would serve and main keeps: a pattern that is found in Synapse's own, and why.
LEFT_ON_MAIN = {
    r"/events/\(\?P<event_id>": "an endpoint that the specification dropped; no current client calls it",
    r"/appservice/\(\?P<appservice_id>": "an application service asks rarely; docs/workers.md does not offer it to workers",
    r"_synapse/client/unsubscribe": "a link in e-mails; it changes pushers, which is main's to do",
    r"_synapse/client/media_upload_limit_exceeded": "a static page that hardly anybody sees",
    r"_synapse/client/oidc/backchannel_logout": "ends sessions, which is main's to do",
    r"/_matrix/saml2/": "where SAML was in old versions; the metadata name the other place",
    r"saml2/metadata": "an identity provider reads it when it is set up, and docs/workers.md does not offer it to workers",
    r"\^/health": "probes ask each process, not the proxy",
    r"well\\-known": "served outside Synapse; what arrives here all the same is rare",
    r"/federation/v1/openid/userinfo": "asked once a call, about a token that only main hands out",
    r"/federation/v1/3pid/onbind": "identity servers alone call it; docs/workers.md does not offer it to workers",
    r"/_matrix/key/v2/server": "other servers keep the answer for as long as it says, and docs/workers.md does not offer it to workers",
    r"/federation/unstable/rooms/": "docs/workers.md does not offer it to workers",
}

# Where the Matrix Authentication Service logs people in, main keeps these besides.
LEFT_ON_MAIN_TOO = {
    r"/_synapse/client/(?:pick_idp|pick_username|new_user_consent|sso_register)": "single sign-on of Synapse's own, of which there is none",
    r"/_synapse/client/rendezvous": "a sign-in by QR code lives in the memory of one process",
}

METHODS = ("GET", "POST", "PUT", "DELETE")
SEGMENT = "%21abc%3Aexample.org"
# What may stand in a path.
LETTERS = "/%!$:@~._-" + string.ascii_letters + string.digits

# What may follow where a pattern of ours is met by a beginning alone: between them, these meet everything that Synapse has there.
TAILS = (
    *("", "x", "x/y", "x/y/z", "x/status", "m.room.name/x", "v3/config", "v1/create", "config", "version", "check"),
    *("download/x", "quarantine", "media/quarantine", "delete"),
)


@frozen
class Servlet:
    """One pattern that a process serves, with the methods that it takes there."""

    pattern: str
    methods: tuple[str, ...]
    name: str


class Server:
    """What each process serves, as Synapse finds it: the first pattern that matches decides, then the method."""

    def __init__(self, rows: dict[str, list[tuple[str, list[str], str]]]) -> None:
        self.servlets = {
            process: [Servlet(pattern, tuple(methods), name) for pattern, methods, name in found] for process, found in rows.items()
        }

    def serves(self, process: str, method: str, path: str) -> str | None:
        """Name the servlet that answers, or None: 404 or 405."""
        for servlet in self.servlets[process]:
            if re.match(servlet.pattern, path):
                return servlet.name if ("GET" if method == "HEAD" else method) in servlet.methods else None
        return None

    @property
    def on_workers(self) -> Iterator[Servlet]:
        """Every pattern that some worker serves, once."""
        seen: dict[str, Servlet] = {}
        for process, servlets in self.servlets.items():
            if process != MAIN:
                for servlet in servlets:
                    seen.setdefault(servlet.pattern, servlet)
        yield from seen.values()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("servlets")
    return read_servlets(folder, everything_on(folder), WORKER_TYPES, SINGLE_SIGN_ON)


@pytest.fixture(scope="module")
def delegating(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The same where the Matrix Authentication Service logs people in."""
    folder = tmp_path_factory.mktemp("delegating")
    return read_servlets(folder, evolve(everything_on(folder), authentication=service("authentication", Port("http", 8080))), DELEGATED)


def everything_on(folder: Path) -> HomeserverSpec:
    return evolve(
        homeserver_spec(folder), federation=FederationOptions(), calls_host="rtc.example.org", options=HomeserverOptions(url_previews=True)
    )


def read_servlets(folder: Path, spec: HomeserverSpec, types: tuple[WorkerType, ...], extra: Mapping[str, Any] | None = None) -> Server:
    """What one process of each type serves, and main. `extra`: what every one of them is told as well."""
    files = write_files(folder, spec, {worker.name: 1 for worker in types})
    (folder / "extra.yaml").write_text(json.dumps(dict(extra or {})))
    asked = {name.removesuffix("-0"): [*files.arguments(name), "-c", f"{folder}/extra.yaml"] for name in files.by_process}
    command = [synapse_python(), str(Path(__file__).with_name("synapse_servlets.py")), str(folder)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return Server(json.loads(done.stdout))


def for_every_path(servlets: Iterable[Servlet], check: Callable[[Servlet, str, str], None]) -> None:
    """Call `check` with each servlet, each of its methods, and many paths that its pattern matches; only the last segment may be empty."""
    for servlet in servlets:
        _for_paths_of(servlet, check)


def _for_paths_of(servlet: Servlet, check: Callable[[Servlet, str, str], None]) -> None:
    # Synapse writes the dots of names such as `im.nheko.summary` without a backslash, and means dots.
    meant = re.sub(r"(?<!\\)\.(?!\*)", r"\\.", servlet.pattern)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
    @given(st.from_regex(meant, fullmatch=True, alphabet=LETTERS))
    def run(path: str) -> None:
        assume("//" not in path)
        for method in servlet.methods:
            check(servlet, method, path)

    run()


def left_on_main(servlet: Servlet) -> str | None:
    """Why main keeps this pattern, if it does."""
    return next((why for pattern, why in LEFT_ON_MAIN.items() if re.search(pattern, servlet.pattern)), None)


def test_what_workers_can_serve_is_given_to_one_that_serves_it_or_left_on_main_for_a_reason(server: Server) -> None:
    def check(servlet: Servlet, method: str, path: str) -> None:
        taker = route(method, path, "since=1")
        if left_on_main(servlet):
            assert taker == MAIN, f"{method} {path} is on the list of what is left on main"
        else:
            # An identifier that is empty is nobody's: main answers as well as any.
            assert taker != MAIN or path.endswith("/"), f"{method} {path} ({servlet.name}) is routed to no worker"
        assert taker == MAIN or server.serves(taker, method, path) == servlet.name, (
            f"{method} {path} goes to {taker}, which has no such servlet"
        )

    for_every_path(server.on_workers, check)


def test_no_route_takes_a_path_that_only_main_serves(server: Server) -> None:
    def check(servlet: Servlet, method: str, path: str) -> None:
        taker = route(method, path, "since=1")
        assert server.serves(taker, method, path), f"{method} {path} ({servlet.name}) goes to {taker}, which does not serve it"

    for_every_path(server.servlets[MAIN], check)


def alternatives(candidate: Route) -> list[str]:
    """One path for each way in which a route's pattern can be met; where it is met by a beginning alone, that."""
    return [path for path in examples(candidate.pattern, SEGMENT) if not path.endswith(f"v3/{SEGMENT}")]


@pytest.mark.parametrize("worker", [worker for worker in WORKER_TYPES if worker.routes], ids=lambda worker: worker.name)
def test_nothing_in_a_route_is_dead_and_the_worker_that_it_names_serves_all_of_it(server: Server, worker: WorkerType) -> None:
    for candidate in worker.routes:
        for path in alternatives(candidate):
            methods = candidate.methods or METHODS
            continued = [path + tail for tail in TAILS if re.search(candidate.pattern, path + tail)]
            served = {method for method in methods for longer in continued if server.serves(worker.name, method, longer)}
            assert served, f"{worker.name} serves nothing like {path}"
            if candidate.methods:
                assert served == set(methods), f"{path}: {worker.name} serves {served}"


@pytest.mark.parametrize("worker", [worker for worker in WORKER_TYPES if worker.fallback], ids=lambda worker: worker.name)
def test_who_takes_over_serves_the_same(server: Server, worker: WorkerType) -> None:
    for candidate in worker.routes:
        for path in alternatives(candidate):
            for method, tail in itertools.product(METHODS, TAILS):
                if re.search(candidate.pattern, longer := path + tail):
                    served = server.serves(str(worker.fallback), method, longer)
                    assert served == server.serves(worker.name, method, longer), f"{method} {longer}"


def test_the_list_of_what_is_left_on_main_holds_nothing_that_is_gone(server: Server) -> None:
    patterns = [servlet.pattern for servlet in server.on_workers]
    for entry, why in LEFT_ON_MAIN.items():
        assert why
        assert any(re.search(entry, pattern) for pattern in patterns), f"no worker serves anything like {entry}"


def test_synapse_tells_paths_apart_before_it_decodes_them(server: Server) -> None:
    # The premise of all patterns: they are for the path as it came, in which an identifier has no slash.
    alias = "/_matrix/client/v3/directory/room/%23one%2Fsend%2Ftwo%3Aexample.org"
    assert server.serves("client-reader", "GET", alias) == "ClientDirectoryServer"
    assert server.serves("client-reader", "GET", alias.replace("%2F", "/")) is None


# --- Where the Matrix Authentication Service logs people in


def test_with_the_authentication_service_what_workers_can_serve_is_given_to_one_that_serves_it(delegating: Server) -> None:
    def check(servlet: Servlet, method: str, path: str) -> None:
        taker = route(method, path, "since=1", types=DELEGATED)
        if left_on_main(servlet) or any(re.search(pattern, path) for pattern in LEFT_ON_MAIN_TOO):
            assert taker == MAIN, f"{method} {path} is on the list of what is left on main"
        else:
            assert taker != MAIN or path.endswith("/"), f"{method} {path} ({servlet.name}) is routed to no worker"
        assert taker == MAIN or delegating.serves(taker, method, path) == servlet.name, f"{method} {path} goes to {taker}"

    for_every_path(delegating.on_workers, check)


def test_with_the_authentication_service_no_route_takes_a_path_that_only_main_serves(delegating: Server) -> None:
    def check(servlet: Servlet, method: str, path: str) -> None:
        taker = route(method, path, "since=1", types=DELEGATED)
        assert delegating.serves(taker, method, path), f"{method} {path} ({servlet.name}) goes to {taker}, which does not serve it"

    for_every_path(delegating.servlets[MAIN], check)


def test_nothing_that_the_authentication_service_takes_is_served_by_synapse_any_more(server: Server, delegating: Server) -> None:
    paths = [path for candidate in LOGIN_ROUTES for path in examples(candidate.pattern, "v3")]
    assert {"/_matrix/client/v3/login", "/_matrix/client/v3/logout"} <= set(paths)
    for path, method, process in itertools.product(paths, METHODS, delegating.servlets):
        assert delegating.serves(process, method, path) is None, f"{process} serves {method} {path}"
    assert server.serves(MAIN, "POST", "/_matrix/client/v3/login"), "without the service it does"


def test_mas_helper_serves_all_that_the_authentication_service_asks_and_main_would_do_the_same(delegating: Server) -> None:
    # crates/matrix-synapse/src/modern.rs of the service, release 1.22.0.
    asked = [("GET", name) for name in ("query_user", "is_localpart_available")]
    asked += [("POST", f"{what}_device") for what in ("upsert", "delete")]
    asked += [("POST", name) for name in ("provision_user", "update_device_display_name", "sync_devices", "delete_user", "reactivate_user")]
    asked += [("POST", name) for name in ("set_displayname", "unset_displayname", "allow_cross_signing_reset")]
    for method, name in asked:
        path = f"/_synapse/mas/{name}"
        assert route(method, path, types=DELEGATED) == MAS_HELPER.name
        assert delegating.serves(MAS_HELPER.name, method, path) == delegating.serves(MAIN, method, path) is not None, path
    metadata = "/_matrix/client/v1/auth_metadata"
    assert delegating.serves(MAS_HELPER.name, "GET", metadata) == delegating.serves(MAIN, "GET", metadata) == "AuthMetadataServlet"
