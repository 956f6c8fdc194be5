"""What Synapse's configuration files say, and to whom."""

import json
import re
from typing import Any

import pytest
from attrs import evolve

from infrastructure.object_storage.s3 import Bucket, Credentials
from infrastructure.postgresql.component import SQL, Database
from kit.network import Endpoint, External, Pods, Port
from main_instance.synapse.configuration import (
    CLIENT_PORT,
    HEALTH_PORT,
    METRICS_PORT,
    REPLICATION_PORT,
    Config,
    HomeserverSpec,
    homeserver_config,
    log_config,
    main_config,
    shard_config,
    worker_config,
)
from main_instance.synapse.options import FederationOptions
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import WorkerType
from main_instance.synapse.workers import MEDIA_REPOSITORY, WORKER_TYPES
from overlays import profiles

POSTGRESQL = Endpoint(Pods("postgresql", "matrix", ()), "main-rw.matrix.svc.cluster.local", 5432, SQL)
SPEC = HomeserverSpec(
    server_name="example.org",
    host="matrix.example.org",
    database=Database(POSTGRESQL, "main-rw", "synapse", "synapse", "main-app", "main-ca"),
    redis=Endpoint(Pods("redis", "matrix", ()), "redis", 6379, Port("redis", 6379)),
    bucket=Bucket("media", "https://minio", "us-east-1", Credentials("media"), External("object-storage", (443,))),
    size=profiles()[0].synapse,
)
FEDERATING = evolve(SPEC, federation=FederationOptions())


def resources(listeners: list[Config]) -> dict[int, list[str]]:
    """Port to the resources of its HTTP listener."""
    return {
        listener["port"]: [name for resource in listener["resources"] for name in resource["names"]]
        for listener in listeners
        if listener["type"] == "http"
    }


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_a_worker_listens_where_its_record_says_and_nowhere_else(worker: WorkerType) -> None:
    config = worker_config(worker, FEDERATING)
    expected = {HEALTH_PORT: ["health"]}
    if worker.listeners:
        expected[CLIENT_PORT] = [listener.value for listener in worker.listeners]
    if worker.replicates:
        expected[REPLICATION_PORT] = ["replication"]
    assert resources(config["worker_listeners"]) == expected
    assert [listener["port"] for listener in config["worker_listeners"] if listener["type"] == "metrics"] == [METRICS_PORT]


@pytest.mark.parametrize("worker", WORKER_TYPES, ids=lambda worker: worker.name)
def test_only_listeners_behind_the_proxy_believe_its_word_about_the_client(worker: WorkerType) -> None:
    for config in (worker_config(worker, FEDERATING)["worker_listeners"], main_config(FEDERATING)["listeners"]):
        for listener in config:
            assert listener.get("x_forwarded", False) == (listener["port"] == CLIENT_PORT)


def test_without_federation_nothing_listens_for_other_servers_and_none_is_called() -> None:
    for listeners in (main_config(SPEC)["listeners"], *(worker_config(worker, SPEC)["worker_listeners"] for worker in WORKER_TYPES)):
        assert "federation" not in {name for names in resources(listeners).values() for name in names}
    config = homeserver_config(SPEC)
    assert config["federation_domain_whitelist"] == []
    assert config["trusted_key_servers"] == []


def test_with_federation_main_listens_for_other_servers_and_nobody_is_shut_out() -> None:
    assert resources(main_config(FEDERATING)["listeners"])[CLIENT_PORT] == ["client", "federation"]
    assert "federation_domain_whitelist" not in homeserver_config(FEDERATING)


def test_federation_can_be_limited_to_partners() -> None:
    config = homeserver_config(evolve(SPEC, federation=FederationOptions(allowed_domains=("partner.example",))))
    assert config["federation_domain_whitelist"] == ["partner.example"]


@pytest.mark.parametrize("spec", [SPEC, FEDERATING], ids=["closed", "federating"])
def test_no_server_is_trusted_with_the_keys_of_others(spec: HomeserverSpec) -> None:
    assert homeserver_config(spec)["trusted_key_servers"] == []


def test_calls_work_without_federation_too_since_main_still_says_who_a_user_is() -> None:
    spec = evolve(SPEC, calls_host="rtc.example.org")
    assert resources(main_config(spec)["listeners"])[CLIENT_PORT] == ["client", "openid"]
    config = homeserver_config(spec)
    transport = {"type": "livekit", "url": "wss://rtc.example.org", "livekit_service_url": "https://rtc.example.org"}
    assert config["matrix_rtc"]["transports"] == [transport]
    assert config["max_event_delay_duration"] == "24h"
    assert config["experimental_features"] == {"msc4143_enabled": True, "msc4222_enabled": True}


def test_a_turn_server_is_offered_to_users_and_not_to_guests() -> None:
    config = homeserver_config(evolve(SPEC, turn=("turn:turn.example.org?transport=udp",)))
    assert config["turn_uris"] == ["turn:turn.example.org?transport=udp"]
    assert config["turn_shared_secret_path"] == SPEC.paths.turn_secret
    assert config["turn_allow_guests"] is False


@pytest.mark.parametrize("option", ["turn_uris", "matrix_rtc", "max_event_delay_duration", "retention", "url_preview_ip_range_blacklist"])
def test_what_a_site_does_not_ask_for_is_not_mentioned(option: str) -> None:
    assert option not in homeserver_config(SPEC)


def test_nobody_can_make_an_account_for_themselves() -> None:
    config = homeserver_config(SPEC)
    assert config["enable_registration"] is False
    assert config["allow_guest_access"] is False


def test_url_previews_never_reach_the_cluster_or_the_machine() -> None:
    config = homeserver_config(evolve(SPEC, url_previews=True))
    assert config["url_preview_enabled"] is True
    assert {"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "192.0.2.0/24"} <= set(config["url_preview_ip_range_blacklist"])
    assert homeserver_config(SPEC)["url_preview_enabled"] is False


def test_media_is_the_business_of_the_media_workers_alone() -> None:
    assert homeserver_config(SPEC)["enable_media_repo"] is False
    for worker in WORKER_TYPES:
        config = worker_config(worker, SPEC)
        assert config.get("enable_media_repo", False) == (worker is MEDIA_REPOSITORY)
        assert ("media_storage_providers" in config) == (worker is MEDIA_REPOSITORY)


def test_an_upload_is_answered_only_when_it_is_in_the_bucket() -> None:
    (provider,) = worker_config(MEDIA_REPOSITORY, SPEC)["media_storage_providers"]
    assert provider["store_synchronous"] is provider["store_local"] is provider["store_remote"] is True


def test_no_file_holds_a_secret() -> None:
    spec = evolve(FEDERATING, turn=("turn:x",), calls_host="rtc.example.org")
    shards = shard_config(topology({worker.name: 1 for worker in WORKER_TYPES}), str)
    for config in (homeserver_config(spec), shards, main_config(spec), *(worker_config(worker, spec) for worker in WORKER_TYPES)):
        for key, value in options(config):
            if re.search("secret|password|signing_key|credential|access_key", key):
                assert key.endswith("_path"), key
                assert str(value).startswith("/secrets/"), key


def options(value: Any) -> list[tuple[str, Any]]:
    """All keys at any depth, with their values."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in [(key, inner), *options(inner)]]
    if isinstance(value, list):
        return [pair for inner in value for pair in options(inner)]
    return []


def test_no_section_is_split_over_two_files_since_the_later_would_replace_the_earlier() -> None:
    shards = shard_config(topology({worker.name: 1 for worker in WORKER_TYPES}), str)
    for own in (main_config(FEDERATING), *(worker_config(worker, FEDERATING) for worker in WORKER_TYPES)):
        shared = homeserver_config(FEDERATING)
        assert not shared.keys() & shards.keys()
        assert not shards.keys() & own.keys()
        assert shared.keys() & own.keys() <= {"enable_media_repo"}


@pytest.mark.parametrize(
    "option", ["server_name", "redis", "instance_map", "listeners", "worker_name", "media_store_path", "pusher_instances"]
)
def test_a_sites_own_options_cannot_undo_what_other_fields_say(option: str) -> None:
    with pytest.raises(ValueError, match=f"extra: {option}: "):
        homeserver_config(evolve(SPEC, extra={option: "x"}))


def test_a_sites_own_options_are_kept() -> None:
    assert homeserver_config(evolve(SPEC, extra={"auto_join_rooms": ["#all:example.org"]}))["auto_join_rooms"] == ["#all:example.org"]


def test_the_same_site_always_gives_the_same_files() -> None:
    assert json.dumps(homeserver_config(SPEC)) == json.dumps(homeserver_config(evolve(SPEC)))


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
@pytest.mark.parametrize("structured", [True, False])
def test_sql_is_never_logged_since_it_has_access_tokens_in_it(level: str, structured: bool) -> None:
    config = log_config(level, structured=structured)
    assert config["loggers"]["synapse.storage.SQL"]["level"] == "WARNING"
    assert config["root"]["level"] == level


def test_a_log_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="one of DEBUG, INFO, WARNING, ERROR"):
        log_config("TRACE")
