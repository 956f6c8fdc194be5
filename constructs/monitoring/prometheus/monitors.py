"""For a Prometheus that the site has already, by the Prometheus Operator: what it shall scrape, and the rules."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from kit.component import Component
from kit.installation import Installation
from kit.monitoring import Scrape
from kit.network import Endpoint, Pods
from kit.objects import CustomResource
from kit.place import Place
from monitoring.alerts import alerts
from monitoring.options import OwnPrometheus
from monitoring.prometheus.relabelling import check_jobs, names
from monitoring.prometheus.rules import groups


class PodMonitor(CustomResource):
    """The PodMonitor kind of the Prometheus Operator: a few fields of many."""

    resource_version = "monitoring.coreos.com/v1"
    resource_kind = "PodMonitor"


class PrometheusRule(CustomResource):
    """The PrometheusRule kind of the Prometheus Operator: groups of rules as Prometheus has them."""

    resource_version = "monitoring.coreos.com/v1"
    resource_kind = "PrometheusRule"


@frozen
class OwnSpec:
    """`prometheus`: the site's. `pages`: where alerts lead people."""

    prometheus: OwnPrometheus
    pages: str | None


class Monitors(Component):
    """A PodMonitor for each job, and a PrometheusRule for the alerts of each component."""

    directory = "01-prometheus"

    def __init__(self, installation: Installation, place: Place, spec: OwnSpec) -> None:
        super().__init__(installation, "prometheus", place)
        scrapes, labels = tuple(installation.declared.scrapes), dict(spec.prometheus.labels)
        check_jobs(scrapes)
        self.alerts(*alerts(scrapes))
        its_pods = Pods("own-prometheus", spec.prometheus.namespace, ())
        for scrape in scrapes:
            self.add("servicemonitors.yaml", PodMonitor, scrape.job, extra_labels=labels, spec=_monitor(scrape))
            self.connect(its_pods, Endpoint(scrape.pods, "", scrape.port.number, scrape.port))
        for component, group in groups(installation.declared.alerts, spec.pages).items():
            self.add("rules.yaml", PrometheusRule, component, extra_labels=labels, spec={"groups": [group]})


def _monitor(scrape: Scrape) -> Mapping[str, Any]:
    # The action is said, though it is the default: items of a custom resource's list are compared whole.
    named = [{"action": "replace", "sourceLabels": [f"__meta_kubernetes_{name.found}"], "targetLabel": name.label} for name in names()]
    endpoint: dict[str, Any] = {
        "portNumber": scrape.port.number,
        "path": scrape.path,
        "relabelings": [{"action": "replace", "targetLabel": "job", "replacement": scrape.job}, *named],
    }
    if scrape.parameters:
        endpoint["params"] = {name: [value] for name, value in scrape.parameters}
    if scrape.of_others:
        endpoint["honorLabels"] = True
    return {
        "namespaceSelector": {"matchNames": [scrape.pods.namespace]},
        "selector": {"matchLabels": dict(scrape.pods.labels)},
        "podMetricsEndpoints": [endpoint],
    }
