"""What our own programs tell Prometheus, by their own code, where a test does not run them whole."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from services.li_sync import follow
from services.li_sync.checkpoint import Checkpoints
from services.li_sync.postgres import TASKS
from services.li_sync.settings import Settings
from services.li_sync.status import Observation, metrics
from services.li_sync.subscription import Slot, Subscription
from services.scan_worker.admission import Admission
from services.scan_worker.engines import Engine
from services.scan_worker.metrics import Metrics as ScanWorkerMetrics
from tests.live.key_vault_site import OWNER, running_database, serving, write_site


def scan_worker() -> str:
    """What a scan worker tells whose engine has dated signatures, and has once said nothing."""
    engine = SimpleNamespace(name="clamav", addresses={"10.0.0.1:3310": True}, state="signatures", published=1_700_000_000.0)
    worker = ScanWorkerMetrics([cast("Engine", engine)], cast("Admission", SimpleNamespace(scanned_now=0, waiting=0)))
    worker.engine_errors.labels("clamav", "silent")
    return generate_latest(worker.registry).decode()


def li_sync(state: Path) -> str:
    """What li_sync tells when each task has run once and failed once. `state`: a folder for that."""
    checkpoints = Checkpoints(state)
    for task in TASKS:
        checkpoints.succeed(checkpoints.begin(task), {"delay_seconds": 0.1, "objects": 1, "bytes": 1})
        checkpoints.fail(checkpoints.begin(task), "an error")
    subscription = Subscription(True, "li", "", True, 0, 0, 0, 0, 78)
    seen = Observation(subscription, Slot(True, "reserved", 1, "0/1", 0, 0, True), "0/1", frozenset(), ())
    registry = CollectorRegistry()
    registry.register(_Seen(cast("Settings", SimpleNamespace(state=state)), seen))
    return generate_latest(registry).decode()


class _Seen:
    def __init__(self, settings: Settings, seen: Observation) -> None:
        self._settings, self._seen = settings, seen

    def collect(self) -> Iterator[Metric]:
        return metrics(self._settings, self._seen)


def li_follow() -> str:
    """What the feeder tells, which counts in the library's own registry."""
    assert follow.RECEIVERS in REGISTRY._collector_to_names
    return generate_latest(REGISTRY).decode()


def key_vault(folder: Path) -> str:
    """What a running vault tells on its own database."""
    with running_database() as database:
        site = write_site(folder, database)
        site.command("migrate", user=OWNER)
        with serving(site) as vault:
            assert vault.ask("intake", "GET", "/").status
            # An answer is counted when it has been given.
            assert vault.ask("metrics", "GET", "/metrics").status
            return vault.ask("metrics", "GET", "/metrics").body.decode()
