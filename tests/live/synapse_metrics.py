"""Everything that the installed Synapse can count, as it would tell Prometheus: each of its own metrics once, at nothing, with all its labels.

A counter with labels is not there before it counts: failures of push, other servers, application services. Run by a Python that has Synapse.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterable

import synapse
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from synapse.metrics import GaugeBucketCollector, LaterGauge


def modules() -> Iterable[str]:
    """All modules of Synapse but its own scripts, which run when they are imported."""
    for module in pkgutil.walk_packages(synapse.__path__, "synapse."):
        if not module.name.startswith(("synapse._scripts", "synapse.storage.schema", "synapse.synapse_rust")):
            yield module.name


def value_of(label: str, server: str) -> str:
    """What a label is given."""
    return server if label == "server_name" else "none"


def main(server: str) -> None:
    """Print it. `server`: the server name, which every metric has."""
    for name in modules():
        try:
            importlib.import_module(name)
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
    print(generate_latest(REGISTRY).decode())


if __name__ == "__main__":
    main(sys.argv[1])
