"""Element Web's nginx.conf in the real nginx, in front of files that are named as those of a build: what is kept, what is refused, what is logged."""

import gzip
import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from attrs import frozen

from kit.network import Host
from main_instance.element_web.configuration import FOLDER, PORT, ElementWebSpec, client_config, files
from main_instance.element_web.options import ElementOptions
from main_instance.synapse.options import RegistrationOptions
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.programs import installed

pytestmark = pytest.mark.live

SPEC = ElementWebSpec(
    options=ElementOptions(),
    host=Host("element.example.com", "element-tls"),
    homeserver="https://matrix.example.com",
    server_name="example.com",
    registration=RegistrationOptions(),
)
# Named as webpack.config.ts of Element Web names them.
BUILD = {
    "index.html": "<!doctype html><title>Element</title>",
    "version": "1.12.26",
    "config.json": '{"brand": "the sample that the image brings along"}',
    "sw.js": "// the service worker",
    "manifest.json": "{}",
    "i18n/en_EN.0123abc.json": "{}",
    "i18n/languages.0123abc.json": "{}",
    "themes/element/img/logos/element-logo.svg": "<svg/>",
    "usercontent/index.html": "<!doctype html>",
    "bundles/0123456789abcdef0123/bundle.js": "element();" * 1000,
    "bundles/0123456789abcdef0123/theme-light.css": "a{}",
    "bundles/0123456789abcdef0123/0a1b.wasm": "\0asm",
    "fonts/Inter-Regular.0123abc.woff2": "font",
    "opus-encoderWorker.min.0123abc.js": "// encoder",
    "widgets/element-call/index.html": "<!doctype html>",
    "widgets/element-call/config.json": "{}",
    "widgets/element-call/assets/index-DG89ryiZ.js": "call()",
}
FOR_EVER = "public, max-age=31536000, immutable"
SECURITY = {
    "content-security-policy": "frame-ancestors 'self'; base-uri 'self'; object-src 'none'",
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}


@frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@frozen
class Web:
    """A running nginx, and where it writes."""

    program: Program
    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)) as connection:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    program = installed("nginx")
    root, (port,) = tmp_path_factory.mktemp("element-web"), free_ports(1)
    for name, text in BUILD.items():
        path = root / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "tmp").mkdir()
    # Where a pod has other folders, and another port; nothing else is changed.
    moved = {" /tmp/": f" {root}/tmp/", " /app;": f" {root}/app;", FOLDER: str(root), f"listen {PORT};": f"listen {LOOPBACK}:{port};"}
    for name, text in files(SPEC).items():
        for here, there in moved.items():
            text = text.replace(here, there)
        (root / name).write_text(text)
    # Started by root, nginx would serve as another user, who may not read pytest's folder.
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    with running([program, "-e", "stderr", "-c", root / "nginx.conf", *user], name="nginx") as nginx:
        nginx.ready(lambda: accepts_connections(port), 10)
        yield Web(nginx, port)


@pytest.mark.parametrize("path", ["", *BUILD])
def test_every_file_is_served_and_what_it_is_is_said(web: Web, path: str) -> None:
    answer = web.get(f"/{path}")
    expected = json.dumps(client_config(SPEC), indent=2) + "\n" if path == "config.json" else BUILD[path or "index.html"]
    assert (answer.status, answer.body.decode()) == (200, expected)
    kinds = {
        "html": "text/html",
        "js": "application/javascript",
        "json": "application/json",
        "wasm": "application/wasm",
        "svg": "image/svg+xml",
    }
    kind = kinds.get((path or "index.html").rpartition(".")[2])
    assert not kind or answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    "path",
    [
        "",
        "?loginToken=x",
        "index.html",
        "version",
        "config.json",
        "config.json?cachebuster=1",
        "sw.js",
        "manifest.json",
        "i18n/en_EN.0123abc.json",
        "i18n/languages.0123abc.json",
        "themes/element/img/logos/element-logo.svg",
        "usercontent/",
        "widgets/element-call/index.html",
        "widgets/element-call/config.json",
    ],
)
def test_what_has_no_digest_in_its_name_is_asked_for_anew(web: Web, path: str) -> None:
    answer = web.get(f"/{path}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    # And costs nothing while it is the same.
    again = web.get(f"/{path}", If_None_Match=answer.headers["etag"])
    assert (again.status, again.body, again.headers["cache-control"]) == (304, b"", "no-cache")


@pytest.mark.parametrize(
    "path", [path for path in BUILD if path.startswith(("bundles/", "fonts/", "opus-", "widgets/element-call/assets/"))]
)
def test_what_has_a_digest_in_its_name_is_kept_for_ever(web: Web, path: str) -> None:
    assert web.get(f"/{path}").headers["cache-control"] == FOR_EVER


@pytest.mark.parametrize("path", ["/bundles/fedcba9876543210fedc/bundle.js", "/fonts/Other.0123abc.woff2", "/modules/x.js"])
def test_that_a_file_is_missing_is_never_kept(web: Web, path: str) -> None:
    """During an update a browser may ask the old pod for a file that only the new one has."""
    answer = web.get(path)
    assert (answer.status, answer.headers.get("cache-control")) == (404, None)


def test_element_finds_no_configuration_by_host_name_and_so_takes_the_one_that_is_there(web: Web) -> None:
    assert web.get("/config.element.example.com.json").status == 404
    assert web.get("/config.json").status == 200


@pytest.mark.parametrize("path", ["/", "/config.json", "/bundles/0123456789abcdef0123/bundle.js", "/health", "/absent", "/usercontent"])
def test_every_answer_has_the_security_headers_once(web: Web, path: str) -> None:
    answer = web.get(path)
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert answer.headers["server"] == "nginx"


@pytest.mark.parametrize("path", ["/nginx.conf", "/config/../nginx.conf", "/%2e%2e/nginx.conf", "/../nginx.conf", "/confignginx.conf"])
def test_nothing_beside_the_client_is_served(web: Web, path: str) -> None:
    assert web.get(path).status in (400, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_sent(web: Web, method: str) -> None:
    assert web.get("/index.html", method).status == 405


def test_a_folder_is_redirected_to_where_the_browser_is(web: Web) -> None:
    answer = web.get("/usercontent")
    assert (answer.status, answer.headers["location"]) == (301, "/usercontent/")


def test_bundles_are_compressed_for_browsers_that_can_read_it(web: Web) -> None:
    path = "/bundles/0123456789abcdef0123/bundle.js"
    answer = web.get(path, Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body).decode() == BUILD[path[1:]]
    assert len(answer.body) < len(BUILD[path[1:]]) / 10
    assert answer.headers["vary"] == "Accept-Encoding"


def test_the_kubelet_is_told_that_it_lives(web: Web) -> None:
    assert (web.get("/health").status, web.get("/health").body) == (200, b"alive\n")


def test_only_what_was_refused_is_logged_and_no_login_token(web: Web) -> None:
    web.get("/?loginToken=secret-one")
    web.get("/absent?loginToken=secret-two")
    (line,) = wait_for(lambda: re.findall(r"^\{.*/absent\".*\}$", web.program.output(), re.MULTILINE)[-1:], 5, "the line in the log")
    assert json.loads(line) | {"time": ""} == {"time": "", "method": "GET", "path": "/absent", "status": 404}
    logged = [json.loads(text)["path"] for text in web.program.output().splitlines() if text.startswith("{")]
    assert "/" not in logged
    assert "secret" not in web.program.output()
