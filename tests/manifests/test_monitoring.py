"""Monitoring: one declaration of what is scraped and of what people are told, whoever runs Prometheus; and a page for every alert."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml
from attrs import evolve
from cdk8s import App

from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from infrastructure.postgresql.alerts import alerts
from kit.installation import Installation
from kit.monitoring import Scrape
from kit.network import Port
from monitoring.options import Mode, MonitoringOptions
from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.components import COMPONENTS, Nothing
from tests.manifests.rules.objects import Objects
from tests.manifests.rules.scrapes import scrape_problems

PAGES = ROOT / "docs" / "04-TROUBLESHOOTING.md"
OF_THE_PLATFORMS_OWN = {"prometheus", "alertmanager", "kube-state-metrics", "node-exporter", "grafana", "loki", "alloy"}
"""Jobs that are there only where the platform runs Prometheus."""


@pytest.fixture(scope="module")
def bundled(full_site: Site) -> Installation:
    return assemble(App(), full_site, profiles()[0])


@pytest.fixture(scope="module")
def with_operator(full_site: Site) -> Installation:
    return assemble(App(), evolve(full_site, monitoring=MonitoringOptions(mode=Mode.OPERATOR)), profiles()[0])


def configuration(installation: Installation) -> dict[str, Any]:
    """prometheus.yaml."""
    document: dict[str, Any] = yaml.safe_load(installation.rendering().files["config/monitoring/prometheus.yaml"])
    return document


def monitors(installation: Installation) -> dict[str, Any]:
    """Job to its PodMonitor."""
    return {o["metadata"]["name"]: o["spec"] for o in installation.rendering().manifests() if o["kind"] == "PodMonitor"}


def groups(installation: Installation) -> dict[str, Any]:
    """Component to its rules, in either form."""
    rendering = installation.rendering()
    files = {path: text for path, text in rendering.files.items() if path.startswith("config/monitoring/alerts/")}
    ours = [group for text in files.values() for group in yaml.safe_load(text)["groups"]]
    theirs = [group for o in rendering.manifests() if o["kind"] == "PrometheusRule" for group in o["spec"]["groups"]]
    return {group["name"]: group["rules"] for group in [*ours, *theirs]}


def test_both_forms_scrape_the_same_jobs(bundled: Installation, with_operator: Installation) -> None:
    jobs = {job["job_name"] for job in configuration(bundled)["scrape_configs"]} - {"kubelet", "cert-manager"}
    assert jobs - OF_THE_PLATFORMS_OWN == monitors(with_operator).keys()


def test_both_forms_choose_the_same_pods_and_call_their_series_alike(bundled: Installation, with_operator: Installation) -> None:
    chosen = {job["job_name"]: list(_steps(job)) for job in configuration(bundled)["scrape_configs"] if "metrics_path" in job}
    for name, monitor in monitors(with_operator).items():
        (endpoint,) = monitor["podMetricsEndpoints"]
        labels = [
            ("keep", f"pod_label_{re.sub('[^A-Za-z0-9]', '_', key)}", value) for key, value in monitor["selector"]["matchLabels"].items()
        ]
        named = [
            ("name", step["sourceLabels"][0].removeprefix("__meta_kubernetes_"), step["targetLabel"])
            for step in endpoint["relabelings"][1:]
        ]
        port = ("keep", "pod_container_port_number", str(endpoint["portNumber"]))
        assert chosen[name] == [("keep", "namespace", monitor["namespaceSelector"]["matchNames"][0]), *labels, port, *named]


def _steps(job: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What relabelling does to a target, without the pods that have ended, which the Prometheus Operator drops by itself."""
    for step in job["relabel_configs"]:
        found = step["source_labels"][0].removeprefix("__meta_kubernetes_")
        if step.get("action") == "keep":
            yield "keep", found, step["regex"].replace("\\.", ".")
        elif step.get("action") is None:
            yield "name", found, step["target_label"]


def test_both_forms_have_the_same_rules_of_what_both_scrape(bundled: Installation, with_operator: Installation) -> None:
    ours, theirs = groups(bundled), groups(with_operator)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == theirs[name] for name in ours if name != "prometheus")
    # Their Prometheus has its own rules about itself, its Alertmanager and the nodes.
    kept = {rule["alert"] for rule in theirs["prometheus"]}
    assert kept < {rule["alert"] for rule in ours["prometheus"]}
    assert {"TargetDown", "VolumeFull", "CertificateExpires"} <= kept


def test_prometheus_asks_for_pods_in_one_way_so_that_one_watch_serves_all_jobs(bundled: Installation) -> None:
    discoveries = [job["kubernetes_sd_configs"] for job in configuration(bundled)["scrape_configs"] if "metrics_path" in job]
    assert all(discovery == discoveries[0] for discovery in discoveries)
    assert discoveries[0][0]["namespaces"]["names"] == ["matrix", "matrix-li", "matrix-rtc", "matrix-monitoring"]


def test_every_component_with_pods_is_scraped_or_says_why_not(bundled: Installation) -> None:
    """The rows of the table: test_components.py holds them to what is declared."""
    named = {dict(scrape.pods.labels).get("app.kubernetes.io/name") for scrape in bundled.declared.scrapes}
    named |= {value for scrape in bundled.declared.scrapes for _, value in scrape.pods.labels}
    silent = {name for name, row in COMPONENTS.items() if isinstance(row.metrics, Nothing)}
    assert set(COMPONENTS) - silent - named == set()


def test_every_pod_of_every_size_is_scraped_and_none_twice(
    installations: dict[str, Installation], built: dict[str, Objects], site: Site
) -> None:
    def problems(size: str) -> list[str]:
        return scrape_problems(built[size], installations[size].declared.scrapes, watched=site.features.monitoring)

    assert {size: found for size in built if (found := problems(size))} == {}


@pytest.mark.parametrize("name", ["full_site", "other_site", "enterprise_site"])
def test_every_pod_of_the_largest_sites_is_scraped_and_none_twice(name: str, request: pytest.FixtureRequest) -> None:
    installation = assemble(App(), request.getfixturevalue(name), profiles()[0])
    assert scrape_problems([dict(o) for o in installation.rendering().manifests()], installation.declared.scrapes) == []


def _changed(scrapes: Sequence[Scrape], job: str, **fields: Any) -> list[Scrape]:
    return [evolve(one, **fields) if one.job == job else one for one in scrapes]


def test_pods_that_nobody_asks_or_two_do_are_noticed(bundled: Installation) -> None:
    objects, scrapes = [dict(o) for o in bundled.rendering().manifests()], bundled.declared.scrapes
    (sygnal,) = (one for one in scrapes if one.job == "sygnal")
    every_worker = evolve(sygnal.pods, labels=(("app.kubernetes.io/name", "synapse"),))
    (database,) = (one for one in scrapes if one.job == "postgresql-main")

    def said(*changed: Scrape) -> list[str]:
        return scrape_problems(objects, changed)

    assert said(*scrapes) == []
    assert said(*(one for one in scrapes if one is not sygnal)) == ["Deployment matrix/sygnal is asked by nobody"]
    assert said(*(one for one in scrapes if one is not database)) == ["Cluster matrix/postgresql-main is asked by nobody"]
    assert said(*_changed(scrapes, "sygnal", port=Port("metrics", 8001))) == [
        "Deployment matrix/sygnal does not listen on 8001, where sygnal asks"
    ]
    assert "sygnal asks nobody" in said(*_changed(scrapes, "sygnal", pods=evolve(sygnal.pods, namespace="elsewhere")))
    assert "StatefulSet matrix/pusher is asked by pusher, sygnal" in said(*_changed(scrapes, "sygnal", pods=every_worker))
    assert "Deployment matrix/sygnal is asked 2 times for 8000/metrics {}" in said(*scrapes, evolve(sygnal, job="again"))


# -- what a site chooses

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\nfeatures: {monitoring: true}\nmonitoring: "


def chosen(options: str) -> Installation:
    return assemble(App(), parse_site(f"{BASE}{options}\n"), profiles()[0])


def objects(installation: Installation, kind: str) -> dict[str, Any]:
    """Objects of a kind by name."""
    return {o["metadata"]["name"]: o for o in installation.rendering().manifests() if o["kind"] == kind}


def test_metrics_are_kept_as_long_as_the_site_says() -> None:
    (container,) = objects(chosen("{retention: 90d}"), "StatefulSet")["prometheus"]["spec"]["template"]["spec"]["containers"]
    assert "--storage.tsdb.retention.time=90d" in container["args"]


def test_who_is_told_is_reached_at_the_addresses_of_the_site_and_nobody_else() -> None:
    mail = "mail: {to: [ops@example.com, b@example.com], sender: a@example.com, server: 'smtp.example.com:465', cidrs: [192.0.2.1/32]}"
    hooks = "webhook: {server: hooks.example.com, cidrs: [192.0.2.2/32]}, watchdog: {server: 'w.example.com:8443', cidrs: [192.0.2.3/32]}"
    installation = chosen(f"{{alerts: {{{mail}, {hooks}}}}}")
    policies = [o for o in installation.rendering().manifests() if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "alertmanager"]
    rules = [rule for policy in policies for rule in policy["spec"]["egress"]]
    out = {(peer["ipBlock"]["cidr"], port["port"]) for rule in rules for peer in rule["to"] if "ipBlock" in peer for port in rule["ports"]}
    assert {(cidr, port) for cidr, port in out if cidr.startswith("192.0.2.")} == {
        ("192.0.2.1/32", 465),
        ("192.0.2.2/32", 443),
        ("192.0.2.3/32", 8443),
    }
    settings = yaml.safe_load(installation.rendering().files["config/monitoring/alertmanager.yaml"])
    (people, watchdog) = settings["receivers"]
    assert (people["email_configs"][0]["to"], people["email_configs"][0]["smarthost"]) == (
        "ops@example.com, b@example.com",
        "smtp.example.com:465",
    )
    assert (people["webhook_configs"][0]["url_file"], watchdog["webhook_configs"][0]["url_file"]) == (
        "/secrets/alert-receivers/webhook-url",
        "/secrets/alert-receivers/watchdog-url",
    )
    (secret,) = (need for need in installation.declared.secrets if need.spec.name == "alert-receivers")
    assert {key for key, _ in secret.spec.keys} == {"webhook-url", "watchdog-url"}, "no user, so no password"


def test_a_receiver_is_trusted_by_its_own_authority_or_by_public_ones() -> None:
    mail = "mail: {to: [ops@example.com], sender: a@example.com, server: smtp.example.com, ca_secret: organisation}"
    hooks = "webhook: {server: hooks.example.com}, watchdog: {server: w.example.com, ca_secret: organisation}"
    installation = chosen(f"{{alerts: {{{mail}, {hooks}}}}}")
    (people, watchdog) = yaml.safe_load(installation.rendering().files["config/monitoring/alertmanager.yaml"])["receivers"]
    trusted = {"ca_file": "/secrets/authorities/organisation/ca.crt"}
    assert people["email_configs"][0]["tls_config"] == watchdog["webhook_configs"][0]["http_config"]["tls_config"] == trusted
    assert "tls_config" not in people["webhook_configs"][0]["http_config"]
    pod = objects(installation, "StatefulSet")["alertmanager"]["spec"]["template"]["spec"]
    assert [m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "organisation"] == [
        "/secrets/authorities/organisation"
    ]
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "organisation")
    assert (volume["secret"]["secretName"], volume["secret"]["items"]) == ("organisation", [{"key": "ca.crt", "path": "ca.crt"}])


def test_a_prometheus_that_is_there_finds_what_it_selects_and_is_let_in() -> None:
    installation = chosen("{mode: operator, operator: {namespace: observe, labels: {release: stack}}}")
    rules = objects(installation, "PrometheusRule")
    assert all(o["metadata"]["labels"]["release"] == "stack" for o in [*rules.values(), *objects(installation, "PodMonitor").values()])
    (policy,) = (o for o in installation.rendering().manifests() if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "haproxy")
    sources = [peer for rule in policy["spec"]["ingress"] if rule["ports"] == [{"port": 8405, "protocol": "TCP"}] for peer in rule["from"]]
    assert sources == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observe"}}}]
    assert not objects(installation, "StatefulSet").keys() & OF_THE_PLATFORMS_OWN


def test_keda_may_ask_prometheus_and_makes_every_autoscaler_of_synapse() -> None:
    with_keda, without = chosen("{keda: {namespace: scaling}}"), chosen("{}")
    scalers = objects(without, "HorizontalPodAutoscaler")
    assert objects(with_keda, "ScaledObject").keys() == scalers.keys() > {"synchrotron"}
    assert not objects(with_keda, "HorizontalPodAutoscaler")
    for name, scaler in scalers.items():
        spec = objects(with_keda, "ScaledObject")[name]["spec"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"])
    callers = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for policy in with_keda.rendering().manifests()
        if policy["kind"] == "NetworkPolicy" and policy["metadata"]["name"] == "prometheus"
        for rule in policy["spec"]["ingress"]
        for peer in rule["from"]
        if "podSelector" not in peer
    }
    assert callers == {"scaling"}


def test_keda_asks_a_prometheus_that_is_there_where_the_site_says() -> None:
    url = "http://prometheus.monitoring.svc:9090"
    found = objects(chosen(f"{{mode: operator, operator: {{url: '{url}'}}, keda: {{}}}}"), "ScaledObject")
    assert {o["spec"]["triggers"][0]["metadata"]["serverAddress"] for o in found.values()} == {url}


def test_alertmanagers_know_each_other_where_there_are_several(full_site: Site) -> None:
    stateful_set = objects(assemble(App(), full_site, profiles()[1]), "StatefulSet")["alertmanager"]["spec"]
    (container,) = stateful_set["template"]["spec"]["containers"]
    peers = [argument for argument in container["args"] if argument.startswith("--cluster.peer=")]
    assert len(peers) == stateful_set["replicas"] == 2
    assert peers[1] == "--cluster.peer=alertmanager-1.alertmanager-pods.matrix-monitoring.svc.cluster.local:9094"


@pytest.mark.parametrize(("schedule", "hours"), [("0 0 2 * * *", 24), ("0 30 4 * * 1", 168), ("0 0 3 1 * *", 744)])
def test_a_backup_is_stale_when_the_longest_pause_of_its_schedule_is_over(schedule: str, hours: int) -> None:
    (stale,) = (alert for alert in alerts(3, schedule) if alert.name == "BackupStale")
    assert stale.expression.endswith(f"> {hours + 6} * 3600")


# -- pages


def headings() -> dict[str, str]:
    """Name of an alert to its page."""
    parts = re.split(r"^### ", PAGES.read_text(), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].strip(): part.partition("\n")[2].partition("\n## ")[0] for part in parts}


def test_every_alert_has_a_page_and_its_link_leads_there(bundled: Installation) -> None:
    pages, rules = headings(), [rule for listed in groups(bundled).values() for rule in listed]
    assert {rule["alert"] for rule in rules} - pages.keys() == set()
    assert all(rule["annotations"]["runbook_url"] == f"docs/04-TROUBLESHOOTING.md#{rule['alert'].lower()}" for rule in rules)


def test_no_page_is_about_an_alert_that_is_gone(bundled: Installation) -> None:
    names = {rule["alert"] for listed in groups(bundled).values() for rule in listed}
    # Pages of failures without an alert have a heading of several words.
    assert {heading for heading in headings() if " " not in heading} - names == set()


@pytest.mark.parametrize("part", ["**People notice**", "**See**", "**Do**", "**Over when**"])
def test_every_page_says_what_people_notice_how_to_see_it_what_to_do_and_when_it_is_over(part: str) -> None:
    assert [name for name, page in headings().items() if part not in page] == []


def test_the_site_says_where_people_read_the_pages(full_site: Site) -> None:
    chosen = evolve(full_site, monitoring=MonitoringOptions(runbooks="https://wiki.example.com/troubleshooting"))
    rules = groups(assemble(App(), chosen, profiles()[0]))["redis"]
    assert rules[0]["annotations"]["runbook_url"] == "https://wiki.example.com/troubleshooting#redisnoprimary"
