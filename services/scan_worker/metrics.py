"""What the service counts, for Prometheus."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.scan_worker.admission import Admission
from services.scan_worker.engines import Engine


class Metrics:
    """The registry of one service."""

    def __init__(self, engines: Sequence[Engine], admission: Admission) -> None:
        self.registry = CollectorRegistry()
        self.files = Counter("scan_worker_files", "Files with a verdict.", ["verdict", "source"], registry=self.registry)
        self.bytes = Counter("scan_worker_bytes", "Bytes that have been scanned.", registry=self.registry)
        self.seconds = Histogram(
            "scan_worker_scan_seconds",
            "From the first byte of a file to its verdict.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self.refused = Counter("scan_worker_refused", "Requests without a verdict, by the reason.", ["reason"], registry=self.registry)
        self.engine_errors = Counter(
            "scan_worker_engine_errors", "Files that an engine said nothing about.", ["engine", "trouble"], registry=self.registry
        )
        self.cache_errors = Counter("scan_worker_cache_errors", "Questions that Redis did not answer.", registry=self.registry)
        for verdict in ("clean", "infected"):
            for source in ("scan", "cache", "allowed"):
                self.files.labels(verdict, source)
        self.registry.register(_Now(engines, admission))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)


class _Now(Collector):
    """What is looked up at the moment of the scrape."""

    def __init__(self, engines: Sequence[Engine], admission: Admission) -> None:
        self._engines, self._admission = engines, admission

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("scan_worker_scans_in_progress", "Files that are being scanned.", self._admission.scanned_now)
        yield GaugeMetricFamily("scan_worker_queue", "Files that wait for a place.", self._admission.waiting)
        up = GaugeMetricFamily("scan_worker_engine_up", "Whether an engine answers at an address.", labels=["engine", "address"])
        known = GaugeMetricFamily(
            "scan_worker_signatures_known", "Whether all of an engine have the same signatures, and say which.", labels=["engine"]
        )
        published = GaugeMetricFamily(
            "scan_worker_signatures_published_seconds", "When the oldest signatures in use were published.", labels=["engine"]
        )
        for engine in self._engines:
            for address, answers in engine.addresses.items():
                up.add_metric([engine.name, address], float(answers))
            known.add_metric([engine.name], float(engine.state is not None))
            if engine.published is not None:
                published.add_metric([engine.name], engine.published)
        yield from (up, known, published)
