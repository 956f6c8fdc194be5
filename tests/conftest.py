"""What holds for every test: the Node.js that jsii runs on, patience on a busy machine, and no silent gaps in CI."""

import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import jsii._type_checking
import pytest

from app.__main__ import select_node

THOROUGH = {
    "test_antivirus_platform",
    "test_backup_guide",
    "test_backup_sizes",
    "test_bundle",
    "test_bundled_packages",
    "test_dashboards",
    "test_enterprise_platform",
    "test_growing_and_shrinking",
    "test_li_platform",
    "test_li_sync",
    "test_li_sync_upgrade",
    "test_login_platform",
    "test_media_sweep",
    "test_monitoring_platform",
    "test_moved_platform",
    "test_outside",
    "test_silo",
    "test_state_compressor",
    "test_synapse_start",
    "test_two_platforms",
}
"""Live tests that take minutes each, and so have a command of their own."""
LIVE, CLUSTER = (Path(__file__).parent / name for name in ("live", "cluster"))

select_node()
# mypy has compared the same values with the same types, and looking at every one again takes half the time of a rendering.
# `python -O`, as the commands are run, leaves it out too.
jsii._type_checking._resolved_check = lambda **_: None
# Examples that render a platform take as long as the machine makes them take; pytest's own timeout bounds the test.
hypothesis.settings.register_profile("platform", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("platform")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in `live/` and `cluster/` carry the marker of that name, and long ones another, so that they can be chosen or left out."""
    for item in items:
        for folder in (LIVE, CLUSTER):
            if folder in item.path.parents:
                item.add_marker(folder.name)
        if item.path.stem in THOROUGH:
            item.add_marker("thorough")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a live test that is skipped fails, unless it is optional: what it promises would go unproven. Elsewhere its reason is shown."""
    report = yield
    promised = item.get_closest_marker("live") and not item.get_closest_marker("optional")
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") and promised:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr}"
    return report
