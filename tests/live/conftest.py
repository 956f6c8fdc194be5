"""One booted platform for all live tests that use it, in the order in which they leave it usable, and the table of what they have shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, running_cluster
from tests.live.installation import REPORT, compile_live_site, objects
from tests.live.report import Report

ORDER = ("test_main_instance", "test_scenarios", "test_outside", "test_dashboards", "test_faults", "test_scaling")
"""They share one platform: first it is only looked at, then used, then broken, in the end another size is applied to it."""
BOOT_SECONDS = 240.0


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = Report()


@pytest.hookimpl(trylast=True)  # After pytest, which sorts by fixtures.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that share the platform come in their order, after all others, so that it is booted once and lives no longer than it must."""
    items.sort(key=lambda item: ORDER.index(item.path.stem) + 1 if item.path.stem in ORDER else 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table, which is plain text, so that it can be read in the output of CI too."""
    lines = config.stash[REPORT].lines()
    if lines:
        terminalreporter.section("the live run")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """What the run has shown so far."""
    return pytestconfig.stash[REPORT]


@pytest.fixture(scope="session")
def live_dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dist/` of the tests' site."""
    folder = tmp_path_factory.mktemp("live-site")
    compile_live_site(folder)
    return folder


@pytest.fixture(scope="session")
def cluster(live_dist: Path, tmp_path_factory: pytest.TempPathFactory, report: Report, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The smallest size of the platform, everything of it ready. If a test fails, the table says where all containers' output is."""
    folder, failed = tmp_path_factory.mktemp("node"), request.session.testsfailed
    with running_cluster(objects(live_dist, "100-ccu"), folder=folder) as node:
        seconds = node.wait_ready(BOOT_SECONDS)
        report.boot = f"{len(node.pods())} pods ready after {seconds:.0f} s"
        yield node
        if request.session.testsfailed > failed:
            node.save_logs(folder / "logs")
            report.logs = str(folder / "logs")
