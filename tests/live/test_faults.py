"""Parts of the platform die while people send and read: nothing that was accepted is lost, and it goes on within a bounded time."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.live.cluster import Cluster
from tests.live.installation import messaging
from tests.live.report import Fault, Report
from tests.live.traffic import Traffic, finish, traffic
from tests.live.traffic_log import lost, twice

RECOVERY_SECONDS = 120.0
READY_SECONDS = 120.0

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def people(cluster: Cluster) -> Iterator[Traffic]:
    with traffic(cluster, "carol", "dave", "erin") as running:
        yield running


@pytest.fixture
def survive(people: Traffic, report: Report, cluster: Cluster) -> Callable[[str, Callable[[], None]], Fault]:
    def run(name: str, happens: Callable[[], None], repair: Callable[[], None] = lambda: None) -> Fault:
        found = people.survive(name, happens, RECOVERY_SECONDS)
        repair()
        report.faults.append(found)
        assert found.lost == 0, lost(people.lines())
        assert found.twice == 0, twice(people.lines())
        # The next fault finds what messages need whole.
        cluster.wait_ready(READY_SECONDS, *messaging(cluster))
        return found

    return run


def redis_primary(cluster: Cluster) -> str:
    """The pod of the Redis server that takes writes."""
    ask = 'REDISCLI_AUTH="$(cat /secrets/redis/password)" valkey-cli role | head -1'
    roles = {pod.name: cluster.exec(pod.name, ["sh", "-c", ask], container="server").output.strip() for pod in cluster.pods("redis")}
    (primary,) = [name for name, role in roles.items() if role == "master"]
    return primary


def test_nothing_is_lost_when_the_redis_primary_loses_power(survive: Callable[..., Fault], cluster: Cluster) -> None:
    primary = redis_primary(cluster)
    found = survive("Redis primary loses power", lambda: cluster.power_off(primary), lambda: cluster.start(primary))
    assert found.sending_gap < 60
    assert redis_primary(cluster) != primary


def test_nothing_is_lost_when_an_event_persister_dies(survive: Callable[..., Fault], cluster: Cluster) -> None:
    found = survive("event persister killed", lambda: cluster.kill("event-persister-0"))
    assert found.sending_gap < 60


def test_nothing_is_lost_when_a_synchrotron_dies(survive: Callable[..., Fault], cluster: Cluster) -> None:
    found = survive("synchrotron killed", lambda: cluster.kill("synchrotron-0"))
    assert found.reading_gap < 30
    assert found.sending_gap < 20, "sending needs no synchrotron"


def test_messaging_goes_on_while_main_is_stopped(survive: Callable[..., Fault], cluster: Cluster, people: Traffic) -> None:
    span: list[float] = []

    def absence() -> None:
        cluster.stop("synapse-0", wait=60)
        span.append(time.monotonic())
        time.sleep(20)
        span.append(time.monotonic())
        cluster.start("synapse-0")

    found = survive("main stopped for 20 s", absence)
    accepted = [line for line in people.lines() if line["kind"] == "accepted" and span[0] < line["at"] < span[1]]
    assert len(accepted) > 20
    assert found.sending_gap < 15


def test_people_hardly_notice_that_haproxy_is_restarted(survive: Callable[..., Fault], cluster: Cluster) -> None:
    def restart() -> None:
        # As `kubectl rollout restart`: one after the other, each leaves only when the other is ready.
        for pod in cluster.pods("haproxy"):
            cluster.delete(pod.name, wait=150)
            cluster.wait_ready(READY_SECONDS, "haproxy")

    found = survive("HAProxy restarted", restart)
    assert found.sending_gap < 20


def test_nothing_is_lost_when_a_haproxy_dies(survive: Callable[..., Fault], cluster: Cluster) -> None:
    found = survive("a HAProxy killed", lambda: cluster.kill(cluster.pods("haproxy")[0].name))
    assert found.sending_gap < 20


def test_nothing_is_lost_when_postgresql_loses_power(survive: Callable[..., Fault], cluster: Cluster) -> None:
    def lose() -> None:
        cluster.power_off("postgresql-main-1")
        time.sleep(5)
        cluster.start("postgresql-main-1")

    # What was sent to it hangs until tcp_user_timeout.
    found = survive("PostgreSQL loses power", lose)
    assert found.sending_gap < 90


def test_at_the_end_everybody_is_shown_everything_and_is_still_logged_in(people: Traffic) -> None:
    lines = finish(people)
    assert lost(lines) == set()
    assert twice(lines) == set()
    assert {line["by"]: line["logged_in"] for line in lines if line["kind"] == "still"} == dict.fromkeys(people.people, True)
