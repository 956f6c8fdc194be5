"""Instances, writers and duties follow from the numbers of instances alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main_instance.synapse.configuration import REPLICATION_PORT, shard_config
from main_instance.synapse.topology import MASTER, topology
from main_instance.synapse.worker_type import Duty, Scaling, Stream, WorkerType
from main_instance.synapse.workers import WORKER_TYPES

ONES = {worker.name: 1 for worker in WORKER_TYPES}
NUMBERS = st.fixed_dictionaries(
    {worker.name: st.just(1) if worker.scaling is Scaling.SINGLE else st.integers(min_value=1, max_value=40) for worker in WORKER_TYPES}
)


def address(instance: str) -> str:
    return f"{instance}.synapse.example"


@given(NUMBERS)
def test_every_instance_has_a_name_of_its_own(counts: dict[str, int]) -> None:
    workers = topology(counts).workers
    assert len(workers) == len(set(workers)) == sum(counts.values())


@given(NUMBERS)
def test_whoever_writes_a_stream_can_be_found_and_called(counts: dict[str, int]) -> None:
    shards = shard_config(topology(counts), address)
    for name, location in shards["instance_map"].items():
        assert location == {"host": f"{name}.synapse.example", "port": REPLICATION_PORT}
    writers = {name for names in shards["stream_writers"].values() for name in names}
    assert set(shards["instance_map"]) == (writers - {MASTER}) | {"main", *shards["outbound_federation_restricted_to"]}


@given(NUMBERS)
def test_only_senders_call_other_servers(counts: dict[str, int]) -> None:
    shards = shard_config(topology(counts), address)
    assert shards["outbound_federation_restricted_to"] == shards["federation_sender_instances"]


@given(NUMBERS)
def test_every_stream_and_every_duty_has_its_instances_and_each_exists(counts: dict[str, int]) -> None:
    site = topology(counts)
    assert set(site.writers) == set(Stream)
    assert set(site.duties) == set(Duty)
    for names in (*site.writers.values(), *site.duties.values()):
        assert names
        assert set(names) <= {MASTER, *site.workers}


@given(NUMBERS)
def test_a_stream_of_one_writer_has_one(counts: dict[str, int]) -> None:
    for stream, names in topology(counts).writers.items():
        if stream.single_writer:
            assert len(names) == 1


@given(NUMBERS)
def test_sharded_work_is_spread_over_all_instances_in_order(counts: dict[str, int]) -> None:
    shards = shard_config(topology(counts), address)
    assert shards["stream_writers"]["events"] == [f"event-persister-{n}" for n in range(counts["event-persister"])]
    assert shards["federation_sender_instances"] == [f"federation-sender-{n}" for n in range(counts["federation-sender"])]
    assert shards["pusher_instances"] == [f"pusher-{n}" for n in range(counts["pusher"])]


@given(NUMBERS)
def test_main_and_every_media_worker_may_quarantine(counts: dict[str, int]) -> None:
    media = [f"media-repository-{n}" for n in range(counts["media-repository"])]
    shards = shard_config(topology(counts), address)
    assert shards["stream_writers"]["quarantined_media_changes"] == [MASTER, *media]
    assert shards["media_instance_running_background_jobs"] == "media-repository-0"


@given(NUMBERS, NUMBERS)
def test_the_number_of_elastic_workers_changes_no_shard(counts: dict[str, int], others: dict[str, int]) -> None:
    elastic = {worker.name: others[worker.name] for worker in WORKER_TYPES if worker.scaling is Scaling.ELASTIC}
    assert shard_config(topology(counts), address) == shard_config(topology(counts | elastic), address)


@pytest.mark.parametrize("worker", [worker for worker in WORKER_TYPES if worker.scaling is Scaling.SINGLE], ids=lambda worker: worker.name)
def test_a_second_instance_where_synapse_allows_one_is_refused(worker: WorkerType) -> None:
    with pytest.raises(ValueError, match=f"^{worker.name}: 2 instances, and Synapse allows one$"):
        topology(ONES | {worker.name: 2})


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
@pytest.mark.parametrize("count", [0, -1])
def test_none_of_a_type_is_refused(worker: WorkerType, count: int) -> None:
    with pytest.raises(ValueError, match=f"^{worker.name}: {count} instances, and nothing else does its work"):
        topology(ONES | {worker.name: count})


def test_all_reasons_are_given_at_once_and_the_nearest_name_is_suggested() -> None:
    counts = {name: count for name, count in ONES.items() if name != "pusher"} | {"encryption": 2, "syncrotron": 3}
    with pytest.raises(ValueError, match="syncrotron") as refusal:
        topology(counts)
    assert str(refusal.value).splitlines() == [
        "syncrotron: no such worker type; did you mean synchrotron?",
        "encryption: 2 instances, and Synapse allows one",
        "pusher: the number of instances is missing",
    ]
