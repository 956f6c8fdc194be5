"""One running cluster for all of its tests, with the platform on it, and the table of what they have shown.

The tests of `test_nodes.py` are of the cluster itself; those of `test_platform.py` look at the platform and use it; those of `test_faults.py`
break it, in the order of the file; `test_changes.py` gives it other releases and sizes; `test_restore.py` loses its database at last.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import SITE, Cluster, Overlay, compiled, machine, running_cluster
from tests.cluster.convergence import missing, restarts, why
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.people import traffic
from tests.cluster.report import Report
from tests.kustomize import ROOT
from tests.live.report import Fault
from tests.live.traffic import Traffic
from tests.live.traffic_log import lost, twice

PROFILE = "100-ccu"
CONVERGED_SECONDS = 900.0
"""Two minutes on an idle machine of two cores; fifteen when many other things happen on it."""
RECOVERY_SECONDS = 600.0
WHOLE_SECONDS = 900.0
ORDER = ("test_nodes", "test_platform", "test_faults", "test_changes", "test_restore")
_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nodes-alone", action="store_true", help="run the cluster without the images of the platform, for test_nodes.py")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[_REPORT].lines():
        terminalreporter.section("the cluster")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """What the run has shown so far."""
    return pytestconfig.stash[_REPORT]


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tell a person who waits what happens, past pytest's own capture of output."""
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(text: str) -> None:
        with manager.global_and_fixture_disabled():
            print(f"\n{text}", end="", file=sys.stderr, flush=True)

    return tell


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest profile of the tests' site, compiled."""
    return compiled(SITE, tmp_path_factory.mktemp("dist") / "dist") / PROFILE


@pytest.fixture(scope="session")
def cluster(rendered: Path, say: Callable[[str], None], report: Report, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes with the operators. What their programs and containers have printed stays where the table says, if a test fails."""
    if lack := machine.lacks():
        pytest.skip(f"the cluster cannot run here: {lack}")
    started = time.monotonic()
    overlays = [] if request.config.getoption("--nodes-alone", default=False) else [rendered]
    with running_cluster(say, *overlays) as made:
        report.add("three nodes with operators", f"ready after {time.monotonic() - started:.0f} s")
        yield made
        if request.session.testsfailed:
            kept = Path(os.environ.get("CLUSTER_LOGS", ROOT / ".tools" / "cluster-logs"))
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(made.logs, kept, ignore_dangling_symlinks=True)
            report.logs = str(kept)


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Kubernetes:
    return cluster.api


@pytest.fixture(scope="session")
def overlay(rendered: Path, cluster: Cluster) -> Overlay:
    """It, as it is applied here."""
    return Overlay(rendered, cluster.place.folder / "overlay")


@pytest.fixture(scope="session")
def applied(overlay: Overlay, api: Kubernetes, cluster: Cluster, say: Callable[[str], None], report: Report) -> tuple[str, ...]:
    """The platform, applied for the first time and converged. The value: the warnings of the API server."""
    started = time.monotonic()
    warnings = overlay.apply(api)
    said = [started]

    def converged() -> bool:
        cluster.check()
        left = missing(api)
        if left and time.monotonic() - said[0] > 20:
            said[0] = time.monotonic()
            say(f"{time.monotonic() - started:4.0f} s  waiting for {len(left)}: {', '.join(left)[:200]}")
        return not left

    wait_until(converged, CONVERGED_SECONDS, lambda: why(api), pause=3)
    seconds = time.monotonic() - started
    again = restarts(api)
    pods = sum(pod["metadata"]["namespace"].startswith("matrix") for pod in api.listed("/api/v1/pods"))
    report.add(f"{PROFILE} applied: {len(overlay.objects)} objects", f"{pods} pods ready after {seconds:.0f} s")
    report.add("containers started again on the way", f"{sum(again.values())}: {again}" if again else "none")
    return warnings


@pytest.fixture(scope="session")
def people(applied: tuple[str, ...], api: Kubernetes, cluster: Cluster) -> Iterator[Traffic]:
    """People who send and read until the end."""
    assert applied == ()
    with traffic(api, cluster.place.folder / "people", "carol", "dave", "erin") as running:
        yield running


@pytest.fixture
def survive(people: Traffic, report: Report, api: Kubernetes) -> Callable[..., Fault]:
    """Let something happen while people send and read: they go on by themselves, nothing is lost, and everything becomes whole again."""

    def run(what: str, happens: Callable[[], None], repair: Callable[[], None] = lambda: None) -> Fault:
        try:
            found = people.survive(what, happens, RECOVERY_SECONDS)
        finally:
            repair()
        report.faults.append(found)
        assert found.lost == 0, lost(people.lines())
        assert found.twice == 0, twice(people.lines())
        # The next one finds the platform whole.
        wait_until(lambda: not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)
        return found

    return run
