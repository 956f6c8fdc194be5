"""What a series costs Prometheus in memory: a real one scrapes many made-up series, few and then many.

Usage: python -m bench.metrics. It takes five minutes, and prints what one more series takes in memory, and Prometheus without any. A series
costs most as it comes; what its samples add until Prometheus writes them to its disk, every two hours, is a byte or two each.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from attrs import frozen

from tests.live.measuring import Prometheus
from tests.live.processes import LOOPBACK, free_ports, running
from tests.live.programs import debian_program
from tests.live.servers import HttpHandler, serving

SECONDS = 280
PODS = 20
FEW, MANY = 10_000, 60_000


@frozen
class Cost:
    """`series` in memory, and what the process takes with them."""

    series: float
    memory: float


def exposition(pod: int, series: int, at: int) -> Iterator[str]:
    """What a made-up pod says: series with labels as long as those of Synapse, values that grow each in their own way."""
    for number in range(series):
        labels = f'server_name="example.com",servlet="SomeRestServlet{number % 90}",method="GET",le="{number // 90}"'
        yield f"synapse_http_server_something_seconds_bucket{{{labels}}} {(number * 7 + pod) * at % 1_000_003}\n"


def cost(series: int) -> Cost:
    """Scrape so many, and look at the process after that time."""
    looks = [itertools.count(1) for _ in range(PODS)]

    class Pods(HttpHandler):
        def do_GET(self) -> None:
            pod = int(self.path.strip("/"))
            text = "".join(exposition(pod, series // PODS, next(looks[pod])))
            self.answer(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})

    with tempfile.TemporaryDirectory() as folder, serving(Pods) as server:
        targets = [
            {"targets": [f"{LOOPBACK}:{server}"], "labels": {"pod": f"synchrotron-{n}", "index": str(n), "__metrics_path__": f"/{n}"}}
            for n in range(PODS)
        ]
        (port,) = free_ports(1)
        own = {"job_name": "own", "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
        settings = {"global": {"scrape_interval": "5s", "scrape_timeout": "5s"}}
        settings["scrape_configs"] = [own, {"job_name": "synchrotron", "static_configs": targets}]  # type: ignore[assignment]
        (Path(folder) / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        command = [debian_program("prometheus", "usr/bin/prometheus"), f"--config.file={folder}/prometheus.yaml"]
        command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={LOOPBACK}:{port}"]
        with running(command, name="prometheus") as process:
            prometheus = Prometheus(process, port)
            time.sleep(SECONDS)
            return Cost(
                _value(prometheus, "prometheus_tsdb_head_series"), _value(prometheus, "max_over_time(process_resident_memory_bytes[1m])")
            )


def _value(prometheus: Prometheus, expression: str) -> float:
    (found,) = prometheus.query(expression)
    return float(found["value"][1])


def main() -> None:
    """Measure both, and say what one more series costs."""
    with ThreadPoolExecutor() as threads:
        few, many = threads.map(cost, (FEW, MANY))
    each = (many.memory - few.memory) / (many.series - few.series)
    print(f"{few.series:.0f} series: {few.memory / 2**20:.0f} MiB; {many.series:.0f} series: {many.memory / 2**20:.0f} MiB")
    print(f"each {each / 1024:.1f} KiB, without any {(few.memory - each * few.series) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
