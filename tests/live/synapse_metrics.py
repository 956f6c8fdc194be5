"""Everything that the installed Synapse can count, as it would tell Prometheus: each of its own metrics once, at nothing, with all its labels.

A counter with labels is not there before it counts: failures of push, other servers, application services. Labels have the values that Synapse's
code gives them where it is written there; the rest is `none`. Requests to some of its servlets are counted besides, as its code counts them: of
each that there is, one that was answered with an error of the server, and one that has no answer yet. Run by a Python that has Synapse, with the
server name and the names of servlets.
"""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import synapse
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from synapse.http.request_metrics import RequestMetrics, _get_in_flight_counts, in_flight_requests
from synapse.http.servlet import RestServlet
from synapse.http.site import requests_counter
from synapse.logging.context import LoggingContext
from synapse.metrics import GaugeBucketCollector, LaterGauge


def modules() -> Iterable[str]:
    """All modules of Synapse but its own scripts, which run when they are imported."""
    for module in pkgutil.walk_packages(synapse.__path__, "synapse."):
        if not module.name.startswith(("synapse._scripts", "synapse.storage.schema", "synapse.synapse_rust")):
            yield module.name


def value_of(label: str, server: str) -> str:
    """What a label is given."""
    return server if label == "server_name" else "none"


def said_by_code(found: Iterable[ModuleType]) -> Iterator[tuple[MetricWrapperBase, dict[str, str]]]:
    """Each metric with the values that a call of `labels` in these modules gives to some of its labels as text."""
    known = {name: value for module in found for name, value in vars(module).items() if isinstance(value, MetricWrapperBase)}
    for module in found:
        file = Path(module.__file__ or "")
        for call in ast.walk(ast.parse(file.read_text())) if file.suffix == ".py" else ():
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr="labels")) if name in known:
                    yield known[name], {k.arg: text for k in call.keywords if k.arg and (text := _text(k.value)) is not None}


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def kinds(of: type[RestServlet]) -> Iterator[type[RestServlet]]:
    """Every servlet."""
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def count_requests(server: str, servlets: Iterable[str]) -> None:
    """Requests to those of these that there are, by what synapse/http/site.py does with each."""
    for name in {kind.__name__ for kind in kinds(RestServlet)} & set(servlets):
        with LoggingContext(name=name, server_name=server):
            for answered in (True, False):
                request = RequestMetrics(our_server_name=server)
                request.start(0.0, name, "GET")
                requests_counter.labels(method="GET", servlet=name, server_name=server).inc()
                if answered:
                    request.stop(1.0, 500, 0)
    in_flight_requests.register_hook(homeserver_instance_id="counted", hook=_get_in_flight_counts)


def main(server: str, *servlets: str) -> None:
    """Print it. `server`: the server name, which every metric has."""
    found = []
    for name in modules():
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            print(f"# {name}: {error}", file=sys.stderr)
    for collector in list(REGISTRY._collector_to_names):
        if isinstance(collector, MetricWrapperBase) and collector._labelnames:
            collector.labels(*(value_of(label, server) for label in collector._labelnames))
        elif isinstance(collector, GaugeBucketCollector):
            collector.update_data([], tuple(value_of(label, server) for label in collector._labelnames))
        elif isinstance(collector, LaterGauge):
            labels = tuple(value_of(label, server) for label in collector.labelnames or ())
            collector._instance_id_to_hook_map.clear()
            collector.register_hook(homeserver_instance_id=None, hook=lambda labels=labels: {labels: 0} if labels else 0)
    for metric, given in said_by_code(found):
        if given:
            metric.labels(**{label: given.get(label, value_of(label, server)) for label in metric._labelnames})
    count_requests(server, servlets)
    print(generate_latest(REGISTRY).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
