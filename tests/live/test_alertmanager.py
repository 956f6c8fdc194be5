"""The real Alertmanager, with the files and arguments of its pod, tells real receivers: a mail server and web servers of private authorities.

It finds its configuration, what is secret and the authorities where the pod has them, and the receivers by their names. Nothing but the ports,
and how fast time runs, is the test's own.
"""

import contextlib
import datetime
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from app.site import Site
from kit.installation import Installation
from monitoring.options import AlertOptions, Mail, Webhook
from tests.kustomize import ROOT
from tests.live.certificates import Authority, authority
from tests.live.clients.relay import server_context
from tests.live.monitoring import debian, in_a_root, installation, watched_site
from tests.live.processes import LOOPBACK, Program, accepts_connections, free_ports, running, wait_for
from tests.live.servers import HttpHandler, serving
from tests.live.synapse_site import synapse_python
from tests.manifests.rules.objects import workloads

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

FASTER = 30
"""How many times faster time runs in the routes."""
MAIL, HOOK, WATCHDOG = "smtp.example.org", "hooks.example.org", "watchdog.example.net"
PASSWORD, HOOK_PATH, WATCHDOG_PATH = "of-the-mail-server", "/services/T0ken", "/ping/0ther"
_MINUTE = 60 / FASTER
ORGANISATION, SERVICE = authority("Organisation"), authority("Service")
"""The authority of the mail server and the webhook, and that of who listens to the watchdog."""


@frozen
class Told:
    """A running Alertmanager, and what its receivers have heard: mails, and the bodies of requests with the time of each."""

    port: int
    program: Program
    mail_server: Program
    hook: list[tuple[float, str, Any]] = field(factory=list)
    watchdog: list[tuple[float, str, Any]] = field(factory=list)

    def send(self, *alerts: Mapping[str, str], seconds: float = 120) -> None:
        """Tell it of alerts by their labels, as Prometheus does: they end after some time unless it says so again."""
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        body = [{"labels": labels, "annotations": {"summary": "It is so."}, "endsAt": ends.isoformat()} for labels in alerts]
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.port}/api/v2/alerts", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=20).close()

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail that has come."""
        lines = [line for line in self.mail_server.output().splitlines() if line.startswith("{")]
        return [mail for mail in map(json.loads, lines) if mail]

    def posted(self, status: str) -> set[tuple[str, str]]:
        """Name and namespace of each alert of which the webhook has heard this."""
        alerts = [alert for _, _, body in self.hook for alert in body["alerts"]]
        return {(a["labels"]["alertname"], a["labels"].get("namespace", "")) for a in alerts if a["status"] == status}

    def failed(self, integration: str) -> float:
        """How many messages of a kind were not taken."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        return sum(
            map(float, re.findall(rf'^alertmanager_notifications_failed_total{{.*integration="{integration}".*}} (\S+)$', text, re.M))
        )


def alert(name: str, namespace: str = "matrix", severity: str = "critical") -> dict[str, str]:
    return {"alertname": name, "namespace": namespace, "severity": severity}


# -- the receivers


def _listener(heard: list[tuple[float, str, Any]]) -> type[HttpHandler]:
    class Listener(HttpHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((time.monotonic(), self.path, body))
            self.answer(200)

    return Listener


@contextlib.contextmanager
def mail_server(port: int, by: Authority, folder: Path) -> Iterator[Program]:
    """One that takes mail by TLS alone, from who knows the password; on port 465 from the first byte."""
    certificate, key = by.issue(MAIL)
    given = {"listen": port, "user": "alerts", "password": PASSWORD, "certificate": certificate, "key": key, "encrypted": port == 465}
    (folder / "given.json").write_text(json.dumps(given))
    command: list[str | Path] = ["sh", "-c", 'exec "$0" -m tests.live.clients.mail_server < "$1"', synapse_python(), folder / "given.json"]
    with running(command, name="mail-server", folder=ROOT) as server:
        server.ready(lambda: "{}" in server.output(), 30)
        yield server


# -- Alertmanager as its pod has it


def _site(mail: int, hook: int, watchdog: int) -> Site:
    told = AlertOptions(
        mail=Mail(to=("ops@example.org",), sender="alerts@example.org", server=f"{MAIL}:{mail}", user="alerts", ca_secret="organisation"),
        webhook=Webhook(server=f"{HOOK}:{hook}", ca_secret="organisation"),
        watchdog=Webhook(server=f"{WATCHDOG}:{watchdog}", ca_secret="service"),
    )
    site = watched_site()
    return evolve(site, monitoring=evolve(site.monitoring, alerts=told))


def _faster(text: str) -> str:
    """Routes that wait for a part of the time."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3600}[found[3]]
        return f"{found[1]}{seconds * 1000 // FASTER}ms"

    return re.sub(r"((?:group_wait|group_interval|repeat_interval): )(\d+)([smh])", shorter, text)


def _mounted(declared: Installation, secrets: Mapping[str, Mapping[str, str]], folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """What the pod has: a folder of this machine, where it is in the container, and whether it may be written."""
    rendering = declared.rendering()
    (pod,) = (w.pod for w in workloads([dict(o) for o in rendering.manifests()]) if w.name == "alertmanager")
    sources = {volume["name"]: volume for volume in pod["volumes"]}
    for number, mount in enumerate(pod["containers"][0]["volumeMounts"]):
        here, source = folder / f"mount-{number}", sources.get(mount["name"], {})
        here.mkdir()
        if name := source.get("configMap", {}).get("name"):
            (files,) = (files for (_, config_map), files in rendering.config_maps.items() if config_map == name)
            for key, path in files.items():
                (here / key).write_text(_faster(rendering.files[path]))
        elif secret := source.get("secret"):
            for item in secret["items"]:
                (here / item["path"]).write_text(secrets[secret["secretName"]][item["key"]])
        yield here, mount["mountPath"], not mount.get("readOnly", False)


def _command(declared: Installation, port: int, mounts: Iterator[tuple[Path, str, bool]], folder: Path) -> list[str | Path]:
    """The program in a root of its own with what is mounted, and its rendered arguments but for the address."""
    (folder / "hosts").write_text(f"{LOOPBACK} {MAIL} {HOOK} {WATCHDOG}\n")
    (folder / "nsswitch.conf").write_text("hosts: files\n")
    names = ((folder / name, f"/etc/{name}", False) for name in ("hosts", "nsswitch.conf"))
    (pod,) = (w.pod for w in workloads([dict(o) for o in declared.rendering().manifests()]) if w.name == "alertmanager")
    arguments = [
        f"--web.listen-address={LOOPBACK}:{port}" if argument.startswith("--web.listen-address=") else argument
        for argument in pod["containers"][0]["args"]
    ]
    return [*in_a_root(Path(debian("prometheus-alertmanager", "prometheus-alertmanager")), [*names, *mounts]), *arguments]


@contextlib.contextmanager
def telling(folder: Path, mail: int = 0, by: Callable[[Authority], Authority] = lambda authority: authority) -> Iterator[Told]:
    """One that runs with its receivers. `mail`: the port of the mail server. `by`: who has signed the certificates, in place of an authority."""
    port, free = free_ports(2)
    hook: list[tuple[float, str, Any]] = []
    watchdog: list[tuple[float, str, Any]] = []
    with contextlib.ExitStack() as stack:
        listening = []
        for host, of, heard in ((HOOK, ORGANISATION, hook), (WATCHDOG, SERVICE, watchdog)):
            certificate, key = by(of).issue(host)
            context = server_context({"certificate": certificate, "key": key})
            listening.append(stack.enter_context(serving(_listener(heard), context=context)))
        server = stack.enter_context(mail_server(mail or free, by(ORGANISATION), folder))
        declared = installation(_site(mail or free, *listening))
        secrets = {
            "alert-receivers": {
                # As an editor leaves files.
                "smtp-password": f"{PASSWORD}\n",
                "webhook-url": f"https://{HOOK}:{listening[0]}{HOOK_PATH}\n",
                "watchdog-url": f"https://{WATCHDOG}:{listening[1]}{WATCHDOG_PATH}\n",
            },
            "organisation": {"ca.crt": ORGANISATION.certificate},
            "service": {"ca.crt": SERVICE.certificate},
        }
        command = _command(declared, port, _mounted(declared, secrets, folder), folder)
        program = stack.enter_context(running(command, name="alertmanager"))
        program.ready(lambda: accepts_connections(port), 30)
        yield Told(port, program, server, hook, watchdog)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with telling(tmp_path_factory.mktemp("alertmanager")) as running_one:
        yield running_one


def test_people_hear_of_an_alert_by_mail_and_by_the_webhook_and_when_it_is_over(told: Told) -> None:
    told.send(alert("RulesFail"))
    wait_for(lambda: told.mails and told.hook, 30, "a mail and a request")
    (mail,) = told.mails
    assert (mail["from"], mail["to"]) == ("alerts@example.org", ["ops@example.org"])
    assert re.match(r"\[FIRING:1\] .*RulesFail", mail["subject"])
    ((_, path, body),) = told.hook
    assert path == HOOK_PATH
    assert [(one["labels"], one["annotations"]) for one in body["alerts"]] == [(alert("RulesFail"), {"summary": "It is so."})]
    told.send(alert("RulesFail"), seconds=-1)
    wait_for(lambda: len(told.mails) > 1 and ("RulesFail", "matrix") in told.posted("resolved"), 40, "that it is over")
    assert told.mails[-1]["subject"].startswith("[RESOLVED]")


def test_what_another_alert_causes_in_the_same_namespace_is_told_to_nobody(told: Told) -> None:
    told.send(alert("RedisNoPrimary"))
    wait_for(lambda: ("RedisNoPrimary", "matrix") in told.posted("firing"), 30, "the cause")
    told.send(alert("SynapseReplicationDown"), alert("SynapseReplicationDown", "other"), alert("RedisMemoryFull", severity="warning"))
    of_its_own = {("SynapseReplicationDown", "other"), ("RedisMemoryFull", "matrix")}
    wait_for(lambda: of_its_own <= told.posted("firing"), 30, "what has another cause")
    # It waits as long for every group: what would have been told has been.
    assert ("SynapseReplicationDown", "matrix") not in told.posted("firing")
    wait_for(lambda: sum("SynapseReplicationDown" in mail["subject"] for mail in told.mails) == 1, 20, "one mail")


def test_the_watchdog_is_heard_once_a_minute_for_as_long_as_prometheus_says_it(told: Told) -> None:
    minutes, ends = 5, time.monotonic() + 5 * _MINUTE
    before = len(told.watchdog)
    while time.monotonic() < ends:
        told.send({"alertname": "Watchdog", "severity": "none"}, seconds=_MINUTE)
        time.sleep(0.2)
    heard = told.watchdog[before:]
    assert minutes - 1 <= len(heard) <= minutes + 1
    assert {path for _, path, _ in heard} == {WATCHDOG_PATH}
    assert {one["labels"]["alertname"] for _, _, body in heard for one in body["alerts"]} == {"Watchdog"}
    # Whoever listens raises the alarm now.
    time.sleep(2 * _MINUTE)
    last = len(told.watchdog)
    time.sleep(3 * _MINUTE)
    assert len(told.watchdog) == last
    assert not [mail for mail in told.mails if "Watchdog" in mail["subject"]]
    assert "Watchdog" not in {name for name, _ in told.posted("firing")}


def test_to_whom_another_authority_has_given_a_certificate_nothing_is_told(tmp_path: Path) -> None:
    stranger = authority("Stranger")
    with telling(tmp_path, by=lambda _: stranger) as nobody:
        nobody.send(alert("RulesFail"), {"alertname": "Watchdog", "severity": "none"})
        wait_for(lambda: "certificate signed by unknown authority" in nobody.program.output(), 30, "the refusal")
        wait_for(lambda: nobody.failed("email") and nobody.failed("webhook") > 1, 30, "that it counts them")
        assert (nobody.mails, nobody.hook, nobody.watchdog) == ([], [], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to listen on port 465")
def test_a_mail_server_that_speaks_tls_from_the_first_byte_is_told_too(tmp_path: Path) -> None:
    with telling(tmp_path, mail=465) as encrypted:
        encrypted.send(alert("RulesFail"))
        wait_for(lambda: encrypted.mails, 30, "a mail")
        assert "RulesFail" in encrypted.mails[0]["subject"]
