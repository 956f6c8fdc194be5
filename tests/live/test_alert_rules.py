"""The alerts by Prometheus' own programs: each is on when it should be and off when it should not, and is told to whom it should be."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from app.site import Site
from kit.installation import Installation
from monitoring.options import AlertOptions, Mail, Webhook
from tests.live.alert_cases import CASES, Case
from tests.live.expressions import without_sides
from tests.live.monitoring import amtool, installation, monitoring_files, promtool, rules, watched_site

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ALWAYS_ON = {"Watchdog"}


@pytest.fixture(scope="module")
def told() -> Site:
    """A site with all that there is, and everybody who can be told of alerts."""
    mail = Mail(to=("ops@example.com",), sender="alerts@example.com", server="smtp.example.com", user="alerts")
    hook = Webhook(server="hooks.example.com")
    alerts = AlertOptions(mail=mail, webhook=hook, watchdog=Webhook(server="watchdog.example.com:8443"))
    site = watched_site()
    return evolve(site, monitoring=evolve(site.monitoring, alerts=alerts))


@pytest.fixture(scope="module")
def declared(told: Site) -> Installation:
    return installation(told)


@pytest.fixture(scope="module")
def folder(declared: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return monitoring_files(declared, tmp_path_factory.mktemp("monitoring"))


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_prometheus_accepts_its_configuration(folder: Path) -> None:
    checked = run(promtool(), "check", "config", "--syntax-only", "prometheus.yaml", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_accepts_every_rule(folder: Path) -> None:
    checked = run(promtool(), "check", "rules", "--lint=all", "--lint-fatal", *map(str, sorted(folder.glob("alerts-*.yaml"))))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_its_case_and_every_case_its_alert(folder: Path) -> None:
    assert sorted({case.alert for case in CASES}) == sorted(rules(folder).keys() - ALWAYS_ON)


def document(case: Case, *, on: bool) -> dict[str, Any]:
    """One case as promtool reads it: with these series exactly these alerts are on."""
    series = case.fires if on else case.silent
    expected = {case.alert} | case.also if on else set()
    query = 'count by (alertname) (ALERTS{alertstate="firing",alertname!="Watchdog"})'
    return {
        "interval": f"{case.step}m",
        "name": f"{case.alert} is {'on' if on else 'off'}",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"{query} > bool 0",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)],
            }
        ],
    }


def test_every_alert_is_on_when_it_should_be_and_off_when_it_should_not(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("alerts-*.yaml"))
    files = []
    for step in sorted({case.step for case in CASES}):
        cases = [case for case in CASES if case.step == step]
        # promtool evaluates every rule for every minute of every case, on one processor.
        for number, part in enumerate(cases[first : first + 20] for first in range(0, len(cases), 20)):
            tests = [document(case, on=on) for case in part for on in (True, False)]
            files.append(folder / f"cases-{step}-{number}.yaml")
            files[-1].write_text(yaml.safe_dump({"rule_files": names, "evaluation_interval": f"{step}m", "tests": tests}))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for checked in pool.map(lambda file: run(promtool(), "test", "rules", str(file)), files):
            assert checked.returncode == 0, checked.stdout[-6000:] + checked.stderr[-6000:]


def test_a_rule_that_never_fires_is_noticed(folder: Path, tmp_path: Path) -> None:
    broken = yaml.safe_load((folder / "alerts-haproxy.yaml").read_text())
    broken["groups"][0]["rules"][0]["expr"] += " and vector(1) == 2"
    (tmp_path / "alerts-haproxy.yaml").write_text(yaml.safe_dump(broken))
    case = next(case for case in CASES if case.alert == "HAProxyBackendDown")
    test = document(case, on=True)
    test["promql_expr_test"][0]["exp_samples"] = [{"labels": '{alertname="HAProxyBackendDown"}', "value": 1}]
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["alerts-haproxy.yaml"], "evaluation_interval": "1m", "tests": [test]}))
    assert run(promtool(), "test", "rules", str(file)).returncode == 1


# -- what each side of an `or` is for


def holds(alert: Mapping[str, Any], expression: str, cases: Sequence[Case], folder: Path) -> bool:
    """Whether everything that cases say of an alert is so, if it had this expression and were alone."""
    rule = {key: value for key, value in alert.items() if key in ("alert", "for")} | {"expr": expression}
    (folder / "rule.yaml").write_text(yaml.safe_dump({"groups": [{"name": "alone", "rules": [rule]}]}))
    for step in sorted({case.step for case in cases}):
        tests = [document(evolve(case, also=frozenset()), on=on) for case in cases if case.step == step for on in (True, False)]
        file = folder / "cases.yaml"
        file.write_text(yaml.safe_dump({"rule_files": ["rule.yaml"], "evaluation_interval": f"{step}m", "tests": tests}))
        checked = run(promtool(), "test", "rules", str(file))
        assert checked.returncode == 0 or "FAILED" in checked.stdout + checked.stderr, checked.stderr
        if checked.returncode:
            return False
    return True


def idle_sides(alerts: Iterable[Mapping[str, Any]], cases: Sequence[Case], folder: Path) -> Iterator[str]:
    """Sides of an `or` without which all cases would hold as well."""
    for alert in alerts:
        own = [case for case in cases if case.alert == alert["alert"]]
        for number, (side, rest) in enumerate(without_sides(alert["expr"])):
            assert number or holds(alert, alert["expr"], own, folder), alert
            if holds(alert, rest, own, folder):
                yield f"{alert['alert']}: {side}"


def test_each_side_of_an_or_has_a_case_that_needs_it(folder: Path, tmp_path: Path) -> None:
    alerts = rules(folder).values()
    assert sum(len(list(without_sides(alert["expr"]))) for alert in alerts) > 15
    assert list(idle_sides(alerts, CASES, tmp_path)) == []


def test_a_side_of_an_or_that_no_case_needs_is_noticed(folder: Path, tmp_path: Path) -> None:
    alert = rules(folder)["RedisReplicaLags"]
    (lags, link) = (case for case in CASES if case.alert == alert["alert"])
    (idle,) = idle_sides([alert], [lags], tmp_path)
    assert "redis_master_link_up" in idle
    (idle,) = idle_sides([alert], [link], tmp_path)
    assert "redis_connected_slave_lag_seconds" in idle


# -- whom Alertmanager tells


def test_alertmanager_accepts_its_configuration(folder: Path) -> None:
    checked = run(amtool(), "check-config", "alertmanager.yaml", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=EventsNotPersisted", "severity=critical"), "people"),
        (("alertname=WorkerQueueBacklog", "severity=warning"), "people"),
        (("alertname=Watchdog", "severity=none"), "watchdog"),
    ],
)
def test_an_alert_is_told_to_whom_it_should_be(labels: tuple[str, ...], receiver: str, folder: Path) -> None:
    command = (amtool(), "config", "routes", "test", f"--config.file={folder / 'alertmanager.yaml'}")
    assert run(*command, f"--verify.receivers={receiver}", *labels).returncode == 0
    assert run(*command, "--verify.receivers=nobody", *labels).returncode == 1


def test_without_anybody_to_tell_the_configuration_is_sound_too(tmp_path: Path) -> None:
    monitoring_files(installation(watched_site()), tmp_path)
    checked = run(amtool(), "check-config", "alertmanager.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_secret_stands_in_the_configuration(folder: Path) -> None:
    configuration = (folder / "alertmanager.yaml").read_text()
    assert "/secrets/alert-receivers/smtp-password" in configuration
    assert "url_file: /secrets/alert-receivers/webhook-url" in configuration
    assert not {"auth_password:", "url:"} & {line.strip(" -").split(" ")[0] for line in configuration.splitlines()}


def test_every_alert_that_another_one_causes_is_an_alert(declared: Installation) -> None:
    alerts = {alert.name: alert for _, alert in declared.declared.alerts}
    named = {name for alert in alerts.values() for name in alert.causes}
    assert named - alerts.keys() == set()
    # What silences another one must stand in the same namespace, or it silences nothing: a sum must keep it.
    causes = [alert for alert in alerts.values() if alert.causes]
    assert [alert.name for alert in causes if "by (" in alert.expression and "by (namespace" not in alert.expression] == []
