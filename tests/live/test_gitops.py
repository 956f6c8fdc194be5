"""Another list of writers by Argo CD's automatic synchronisation: the order in which its own engine writes what has changed."""

from pathlib import Path

import pytest

from tests.live.control_plane import control_plane
from tests.live.gitops import engine_program, synchronise
from tests.live.installation import NAMESPACE, objects
from tests.live.report import Report
from tests.live.shard_lists import with_persisters

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(600)]


def test_the_list_comes_first_and_then_all_who_read_it_with_none_waiting_for_another(
    live_dist: Path, tmp_path: Path, report: Report
) -> None:
    """As tests/live/test_scaling.py lets the objects come on the node, with people on it."""
    engine_program()
    now = [
        o
        for o in objects(live_dist, "1000-ccu")
        if o["kind"] in ("ConfigMap", "StatefulSet") and o["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "synapse"
    ]
    with control_plane(tmp_path) as plane:
        plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *now], tmp_path)
        order = synchronise(plane, NAMESPACE, with_persisters(now, 1), tmp_path / "repository")
    list_of_writers, *readers = order
    assert list_of_writers == ("ConfigMap", "synapse-shards-of-another-list")
    # In parallel, so that either may be the first.
    assert sorted(readers) == [("StatefulSet", "event-persister"), ("StatefulSet", "synapse")]
    report.scaling.append(("a changed list by Argo CD's engine", ", then ".join(f"{kind} {name}" for kind, name in order)))
