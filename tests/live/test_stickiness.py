"""What it costs that with the Matrix Authentication Service the devices of a user, and one device after another token, find different workers.

Its tokens do not say whose they are, and live for minutes: HAProxy spreads by token then, where it spreads by user with Synapse's own. What
is measured is the work of two real sync workers for the same syncs; figures are ratios of one run, since seconds are a machine's own.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from urllib.parse import quote

import pytest
from attrs import define, field, frozen

from tests.live.report import Report
from tests.live.started_synapse import CREATOR, MAIN, PERSISTERS, SYNCHROTRONS, StartedSynapse, started_synapse

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

USERS, ROOMS, MEMBERS = 16, 12, 8
ROUNDS = 10
TICKS = os.sysconf("SC_CLK_TCK")
Place = Callable[[int, int], str]
"""The worker of a device: by the number of its user, and its own."""


@define
class Device:
    """Where a person reads. `since`: how far it has read."""

    user: int
    number: int
    token: str
    since: str


@frozen
class Cost:
    """What so many syncs have taken: processor time of the workers, transactions of the database, and how long the median one was waited for."""

    syncs: int
    processor: float
    transactions: float
    waited: float

    def over(self, other: "Cost") -> Mapping[str, float]:
        """As multiples of another one's, for each sync."""
        share = other.syncs / self.syncs
        return {
            "processor time": self.processor / other.processor * share,
            "transactions": self.transactions / other.transactions * share,
            "waited": self.waited / other.waited,
        }


@define
class People:
    """Users with two devices each, in rooms that they share."""

    synapse: StartedSynapse
    sender: str
    rooms: list[str]
    devices: list[Device] = field(factory=list)

    def say(self) -> None:
        """A message in each room."""
        for room in self.rooms:
            path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/{time.time_ns()}"
            self.synapse.call("PUT", path, {"msgtype": "m.text", "body": "hello"}, self.sender)

    def round(self, place: Place) -> list[float]:
        """Something is said, and each device reads it. How long each has waited."""
        self.say()
        waited = []
        for device in self.devices:
            began, path = time.monotonic(), f"/_matrix/client/v3/sync?timeout=0&since={device.since}"
            answer = self.synapse.call("GET", path, token=device.token, at=place(device.user, device.number))
            assert answer["rooms"]["join"], "it has read something"
            device.since = answer["next_batch"]
            waited.append(time.monotonic() - began)
        return waited

    def cost(self, place: Place, rounds: int) -> Cost:
        """What so many rounds take."""
        processor, transactions, waited = self._processor(), self._transactions(), []
        for _ in range(rounds):
            waited += self.round(place)
        # The statistics of a session are told when it has been idle for a second.
        time.sleep(2)
        return Cost(len(waited), self._processor() - processor, self._transactions() - transactions, median(waited))

    def new_workers(self) -> None:
        """Workers that know nobody yet."""
        self.synapse.stop(*SYNCHROTRONS)
        self.synapse.start(*SYNCHROTRONS)
        self.synapse.ready(*SYNCHROTRONS)

    def _processor(self) -> float:
        words = [
            Path(f"/proc/{self.synapse.programs[name].process.pid}/stat").read_text().rpartition(")")[2].split() for name in SYNCHROTRONS
        ]
        return sum(int(word) for own in words for word in own[11:13]) / TICKS

    def _transactions(self) -> float:
        ask = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'synapse'"
        return float(self.synapse.sql(ask)[0][0])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with started_synapse(tmp_path_factory.mktemp("stickiness") / "synapse") as synapse:
        names = (MAIN, CREATOR, PERSISTERS[0], *SYNCHROTRONS)
        synapse.write(PERSISTERS[:1])
        synapse.know_password("right")
        synapse.start_database()
        synapse.start_redis()
        synapse.start(*names)
        synapse.ready(*names)
        sender = synapse.register("sender")
        public = {"preset": "public_chat"}
        found = People(
            synapse, sender, [synapse.call("POST", "/_matrix/client/v3/createRoom", public, sender)["room_id"] for _ in range(ROOMS)]
        )
        for user in range(USERS):
            first = synapse.register(f"user{user}")
            login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": f"user{user}"}, "password": "secret"}
            second = synapse.call("POST", "/_matrix/client/v3/login", login)["access_token"]
            # Rooms have members on both workers, wherever these are.
            for number in range(ROOMS * MEMBERS // USERS):
                synapse.call("POST", f"/_matrix/client/v3/join/{quote(found.rooms[(user + number) % ROOMS])}", {}, first)
            for number, token in enumerate((first, second)):
                begin = synapse.call("GET", "/_matrix/client/v3/sync?timeout=0", token=token, at=by_user(user, number))["next_batch"]
                found.devices.append(Device(user, number, token, begin))
        yield found


def by_user(user: int, _device: int) -> str:
    return SYNCHROTRONS[user % 2]


def by_token(user: int, device: int) -> str:
    """As bad as it can be: no two devices of a user meet."""
    return SYNCHROTRONS[(user + device) % 2]


def moved(user: int, _device: int) -> str:
    """Where `by_user` leads to is the other one."""
    return SYNCHROTRONS[(user + 1) % 2]


def shown(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ratio:.2f} x" for name, ratio in ratios.items())


def test_two_devices_of_a_user_cost_about_as_much_on_two_workers_as_on_one(people: People, report: Report) -> None:
    costs: dict[Place, list[Cost]] = {by_user: [], by_token: []}
    # In turn, so that a busy machine slows each alike.
    for place in (by_user, by_token, by_token, by_user):
        people.new_workers()
        people.cost(place, 2)
        costs[place].append(people.cost(place, ROUNDS))
    together, apart = (total(costs[place]) for place in (by_user, by_token))
    ratios = apart.over(together)
    report.scenarios.append(("two devices of a user on two sync workers, not on one", shown(ratios)))
    assert ratios["processor time"] < 1.3, ratios
    assert ratios["transactions"] < 1.3, ratios


def test_what_a_device_costs_more_when_it_has_a_new_token(people: People, report: Report) -> None:
    people.new_workers()
    people.cost(by_user, 2)
    warm = people.cost(by_user, ROUNDS)
    ratios = people.cost(moved, 1).over(warm)
    report.scenarios.append(("the first sync on a worker that does not know the user", shown(ratios)))
    assert ratios["processor time"] < 10, ratios


def total(costs: list[Cost]) -> Cost:
    return Cost(
        sum(cost.syncs for cost in costs),
        sum(cost.processor for cost in costs),
        sum(cost.transactions for cost in costs),
        median(cost.waited for cost in costs),
    )
