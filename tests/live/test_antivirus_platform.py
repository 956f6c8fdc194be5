"""A site with the antivirus, run as it is rendered: its pods, its signatures, its policies, and what people see of it.

ClamAV's own databases cannot be had, since only ClamAV signs them: the signatures are two of these tests', which go the way of a site without
internet, by the volume of the mirror. Of Synapse there are the processes that a login and an upload need.
"""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from antivirus.options import AntivirusOptions, Signatures
from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.antivirus import EICAR, NEW, OWN, hdb, ndb, zipped
from tests.live.cluster import INGRESS, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.content_scanner import decrypt, encrypt, scanner_python
from tests.live.installation import PUBLIC, register
from tests.live.processes import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PROCESSES = {
    *("synapse", "client-reader", "media-repository", "device-lists", "account-data", "haproxy", "redis", "redis-proxy"),
    *("clamav", "scan-worker", "signature-mirror", "content-scanner"),
}
STRANGER = Place("matrix", {"app": "stranger"})
BUNDLE = "/signatures/bundle"
CLEAN = b"a letter to a friend, of which nobody has anything to fear"

# One upload or download, given as JSON with the content in base64; the answer's status and body.
SEND = """
import base64, json, sys, urllib.error, urllib.request
given = json.load(sys.stdin)
body = None if given["body"] is None else base64.b64decode(given["body"])
headers = {"Authorization": f"Bearer {given['token']}", "Content-Type": "application/octet-stream", "X-Forwarded-For": "203.0.113.9"}
request = urllib.request.Request(given["url"], body, headers, method=given["method"])
try:
    with urllib.request.urlopen(request, timeout=150) as answer:
        print(json.dumps([answer.status, base64.b64encode(answer.read()).decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, base64.b64encode(error.read()).decode()]))
except OSError as error:
    print(json.dumps([0, base64.b64encode(str(error).encode()).decode()]))
"""


def send(cluster: Cluster, method: str, url: str, body: bytes | None = None, token: str = "", at: Place = INGRESS) -> tuple[int, bytes]:
    """A request with any content; status 0 where nobody answers."""
    given = {"method": method, "url": url, "body": None if body is None else base64.b64encode(body).decode(), "token": token}
    status, text = cluster.run(["python", "-c", SEND], at, given=json.dumps(given)).check().json
    return status, base64.b64decode(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    example = read_site(ROOT / "tests" / "site.yaml")
    chosen = evolve(
        example,
        features=evolve(example.features, li=False, calls=False, push=False, antivirus=True),
        antivirus=AntivirusOptions(signatures=Signatures.BUNDLE, encrypted=True),
        cluster=evolve(
            example.cluster, pod_cidrs=(POD_CIDR,), service_cidrs=(SERVICE_CIDR,), node_cidrs=(NODE_CIDR,), api_server_cidrs=(NODE_CIDR,)
        ),
    )
    folder: Path = tmp_path_factory.mktemp("antivirus")
    write(folder, compile_site(chosen, profiles()[:1]))
    objects = [with_own_signatures(o) for o in build(folder / "base") if runs(o)]
    with running_cluster(objects, folder=tmp_path_factory.mktemp("node")) as node:
        node.wait_ready(240, *(PROCESSES - {"clamav", "content-scanner"}))
        put_signatures(node, {"test.hdb": hdb("Test.Eicar", EICAR), "test.ndb": ndb("Test.Own", OWN)})
        node.wait_ready(300, "clamav")
        yield node


def runs(o: dict[str, Any]) -> bool:
    """Whether an object is of use to the processes of these tests."""
    if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        return o["metadata"]["name"] in PROCESSES
    return bool(o["metadata"]["name"] != "minio-li")


def with_own_signatures(o: dict[str, Any]) -> dict[str, Any]:
    """Freshclam fetches the tests' signatures in place of ClamAV's, which only ClamAV can sign, and looks for new ones every few seconds."""
    if o["kind"] == "ConfigMap" and "freshclam.conf" in o.get("data", {}):
        mirror = next(line.split()[1] for line in o["data"]["freshclam.conf"].splitlines() if line.startswith("PrivateMirror"))
        ours = [f"ExcludeDatabase {name}" for name in ("main", "daily", "bytecode")]
        ours += [f"DatabaseCustomURL {mirror}/{name}" for name in ("test.hdb", "test.ndb")]
        o["data"]["freshclam.conf"] = "\n".join(ours) + "\n" + o["data"]["freshclam.conf"]
    return o


def put_signatures(node: Cluster, files: dict[str, str]) -> None:
    """As the guide for sites without internet says: into the folder `bundle` of the mirror's volume; then the update runs."""
    (mirror,) = (pod.name for pod in node.pods("signature-mirror"))
    script = "import json, pathlib, sys; f = pathlib.Path(sys.argv[1]); f.mkdir(exist_ok=True)\n"
    script += "for name, text in json.loads(sys.argv[2]).items(): (f / name).write_text(text)"
    node.exec(mirror, ["python", "-c", script, BUNDLE, json.dumps(files)]).check()
    update = ["python", "-m", "services.signature_mirror", "update", "/signatures", "--from", BUNDLE, "--settle", "0"]
    node.exec(mirror, update, seconds=120).check()


@pytest.fixture(scope="module")
def token(site: Cluster) -> str:
    (password,) = register(site, "alice").values()
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": password}
    status, answer = send(site, "POST", f"{PUBLIC}/_matrix/client/v3/login", json.dumps(body).encode())
    assert status == 200, answer
    return str(json.loads(answer)["access_token"])


def upload(site: Cluster, content: bytes, token: str) -> tuple[int, dict[str, Any]]:
    status, answer = send(site, "POST", f"{PUBLIC}/_matrix/media/v3/upload?filename=x", content, token)
    return status, json.loads(answer)


def test_a_clean_file_is_taken_and_given_back(site: Cluster, token: str) -> None:
    status, answer = upload(site, CLEAN, token)
    assert status == 200, answer
    server, media = answer["content_uri"].removeprefix("mxc://").split("/")
    assert send(site, "GET", f"{PUBLIC}/_matrix/client/v1/media/download/{server}/{media}", token=token) == (200, CLEAN)


@pytest.mark.parametrize(
    "content",
    [EICAR, b"see: " + OWN + b" ...", zipped({"a.txt": CLEAN, "b.com": EICAR})],
    ids=["by its hash", "by a string", "in an archive"],
)
def test_malware_is_refused_and_nothing_of_it_is_kept(content: bytes, site: Cluster, token: str) -> None:
    before = kept(site)
    status, answer = upload(site, content, token)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN"), answer
    assert "Test." in answer["error"]
    assert kept(site) == before


@pytest.mark.optional
def test_encrypted_malware_is_refused_on_download_and_an_encrypted_letter_delivered_byte_for_byte(site: Cluster, token: str) -> None:
    scanner_python()
    site.wait_ready(60, "content-scanner")
    for content, expected in ((EICAR, 403), (CLEAN, 200)):
        ciphertext, file = encrypt(content)
        status, answer = upload(site, ciphertext, token)
        assert status == 200, "nobody who has no key can tell what it is"
        body = json.dumps({"file": {**file, "url": answer["content_uri"]}}).encode()
        status, given = send(site, "POST", f"{PUBLIC}/_matrix/media_proxy/unstable/download_encrypted", body, token)
        assert status == expected, given
        assert (given == ciphertext) == (expected == 200)
    assert decrypt(given, file) == CLEAN


def kept(site: Cluster) -> int:
    """Rows of media that the database has."""
    query = "select count(*) from local_media_repository where media_length is not null"
    answer = site.exec(
        "postgresql-main-1", ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "synapse", "-At", "-c", query]
    ).check()
    return int(answer.output.strip())


def test_a_new_signature_counts_without_a_restart(site: Cluster, token: str) -> None:
    assert upload(site, NEW, token)[0] == 200
    restarts = {pod.name: pod.restarts for pod in site.pods("clamav")}
    put_signatures(site, {"test.hdb": hdb("Test.Eicar", EICAR), "test.ndb": ndb("Test.Own", OWN) + ndb("Test.New", NEW)})
    (clamav,) = (pod.name for pod in site.pods("clamav"))
    # Within the hour it would come by itself.
    fetch = ["freshclam", "--stdout", "--config-file", "/etc/clamav/freshclam.conf"]
    site.exec(clamav, fetch, container="freshclam", seconds=120)
    wait_for(lambda: upload(site, NEW, token)[0] == 403, 60, "the new signature to count")
    assert {pod.name: pod.restarts for pod in site.pods("clamav")} == restarts


def test_without_a_verdict_a_file_is_refused_and_comes_through_later(site: Cluster, token: str) -> None:
    (clamav,) = (pod.name for pod in site.pods("clamav"))
    content = secrets.token_bytes(1000)
    site.stop(clamav, wait=90)
    try:
        begun = time.monotonic()
        status, answer = upload(site, content, token)
        assert status == 503, answer
        assert time.monotonic() - begun < 45, "people learn it soon"
    finally:
        site.start(clamav)
        site.wait_ready(120, "clamav")
    wait_for(lambda: upload(site, content, token)[0] == 200, 60, "files to be scanned again")


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (STRANGER, "http://scan-worker.matrix.svc.cluster.local:8080/health"),
        (STRANGER, "http://clamav.matrix.svc.cluster.local:3310/"),
        (INGRESS, "http://scan-worker.matrix.svc.cluster.local:8080/health"),
        (STRANGER, "http://signature-mirror.matrix.svc.cluster.local:8080/health"),
    ],
)
def test_nobody_but_those_who_must_reaches_the_antivirus(place: Place, url: str, site: Cluster) -> None:
    probe = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)"
    assert site.run(["python", "-c", probe, url], place).code != 0


def test_the_policies_refuse_no_connection_that_the_platform_itself_makes(site: Cluster) -> None:
    assert [refused for refused in site.denied() if not refused.source.startswith("client-")] == []
