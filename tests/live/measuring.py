"""A real Prometheus that measures what programs have told it before: it looks at saved expositions, under the labels of the rendered configuration.

Between two looks every value grows by one, so that there is a rate of each counter and a quantile of each histogram, where that is wanted.
"""

import contextlib
import json
import math
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.live.processes import LOOPBACK, Program, free_ports, running
from tests.live.programs import debian_program
from tests.live.servers import HttpHandler, serving

SECONDS = 2
"""Between two looks."""
LOOKS = 4
RATE_INTERVAL = f"{SECONDS * LOOKS}s"
"""In the place of Grafana's `$__rate_interval`."""
ALWAYS = {"groups": [{"name": "always", "rules": [{"alert": "Always", "expr": "vector(1)", "labels": {"severity": "none"}}]}]}
"""Something is always firing, as in the platform: the dead man's switch."""


@frozen
class Measured:
    """One pod: the labels of its series, and what it says. `of_others`: its series keep their own namespace and pod."""

    labels: Mapping[str, str]
    text: str
    of_others: bool = False


def grown(text: str, by: int) -> str:
    """An exposition in which every number is larger."""
    return "".join(line if line.startswith("#") else _larger(line, by) for line in text.splitlines(keepends=True))


def _larger(line: str, by: int) -> str:
    series, _, value = line.rstrip("\n").rpartition(" ")
    number = float(value) if series else math.nan
    return f"{series} {number + by}\n" if math.isfinite(number) else line


@frozen
class Prometheus:
    """The running server."""

    program: Program
    port: int

    def query(self, expression: str) -> list[Mapping[str, Any]]:
        """The series that an expression returns now. AssertionError, with what Prometheus says, for one that it does not understand."""
        form = urllib.parse.urlencode({"query": expression}).encode()
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/api/v1/query", form, timeout=30) as answer:
                result: list[Mapping[str, Any]] = json.load(answer)["data"]["result"]
                return result
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None

    def values(self, label: str, series: str) -> list[str]:
        """The values of a label, as Grafana's `label_values` has them."""
        return sorted(found["metric"][label] for found in self.query(f"group by ({label}) ({series})") if label in found["metric"])


@contextlib.contextmanager
def measuring(pods: Sequence[Measured], folder: Path, *, growing: bool = True) -> Iterator[Prometheus]:
    """Run Prometheus until it has looked at everything a few times. Not `growing`: values stay as they are."""
    looks = [count() for _ in pods]

    class Expositions(HttpHandler):
        def do_GET(self) -> None:
            number = int(self.path.strip("/"))
            text = grown(pods[number].text, next(looks[number])) if growing else pods[number].text
            self.answer(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})

    program = debian_program("prometheus", "usr/bin/prometheus")
    (port,) = free_ports(1)
    with serving(Expositions) as server:
        address = f"{LOOPBACK}:{server}"
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(pods, address)))
        (folder / "rules.yaml").write_text(yaml.safe_dump(ALWAYS))
        command = [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
        with running([*command, f"--web.listen-address={LOOPBACK}:{port}"], name="prometheus") as process:
            prometheus = Prometheus(process, port)
            process.ready(lambda: _has_looked(prometheus, len(pods)), 90)
            yield prometheus


def _has_looked(prometheus: Prometheus, pods: int) -> bool:
    try:
        seen = prometheus.query(f"sum_over_time(up[1m]) >= {LOOKS}")
    except (OSError, AssertionError):
        return False
    return len(seen) == pods and bool(prometheus.query("ALERTS"))


def _configuration(pods: Sequence[Measured], address: str) -> dict[str, Any]:
    def scrapes(of_others: bool) -> dict[str, Any]:
        targets = [
            {"targets": [address], "labels": {**pod.labels, "__metrics_path__": f"/{number}"}}
            for number, pod in enumerate(pods)
            if pod.of_others is of_others
        ]
        return {"job_name": "others" if of_others else "own", "honor_labels": of_others, "static_configs": targets}

    seconds = f"{SECONDS}s"
    return {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [scrapes(False), scrapes(True)],
    }
