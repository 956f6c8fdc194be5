"""What Synapse's configuration files say, and to whom."""

import json
import re
from typing import Any

import pytest
from attrs import evolve

from infrastructure.object_storage.s3 import Bucket, Credentials
from infrastructure.postgresql.component import SQL, Database
from kit.formats import OldSigningKey
from kit.network import Endpoint, External, Pods, Port
from kit.options import OptionError, Settings
from kit.secrets import Fixed, SecretSpec
from main_instance.application_services.options import ApplicationServiceOptions
from main_instance.login.options import LdapOptions, LoginOptions, ProviderOptions
from main_instance.synapse.configuration import (
    CLIENT_PORT,
    HEALTH_PORT,
    METRICS_PORT,
    REPLICATION_PORT,
    USE,
    Config,
    HomeserverSpec,
    Module,
    homeserver_config,
    log_config,
    main_config,
    shard_config,
    worker_config,
)
from main_instance.synapse.options import (
    FederationOptions,
    HomeserverOptions,
    MediaOptions,
    RateLimit,
    RateLimitOptions,
    RegistrationOptions,
    ServerNotices,
)
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import WorkerType
from main_instance.synapse.workers import AUTHENTICATING, MAIN, MEDIA_REPOSITORY, WORKER_TYPES
from overlays import profiles
from tests.site_documents import OPTIONS

KEYS = Credentials(SecretSpec("media", "matrix", {"access-key": Fixed("media")}))
POSTGRESQL = Endpoint(Pods("postgresql", "matrix", ()), "main-rw.matrix.svc.cluster.local", 5432, SQL)
SPEC = HomeserverSpec(
    server_name="example.org",
    host="matrix.example.org",
    database=Database(POSTGRESQL, "main-rw", "synapse", "synapse", "main-app", "main-ca", "matrix"),
    redis=Endpoint(Pods("redis", "matrix", ()), "redis", 6379, Port("redis", 6379)),
    bucket=Bucket("media", "https://minio", "us-east-1", KEYS, External("object-storage", (443,))),
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


def test_the_authority_of_partners_is_known_to_senders_alone() -> None:
    private = evolve(SPEC, federation=FederationOptions(internet=False, networks=("10.20.0.0/16",), ca_secret="partners"))
    files = {worker.name: worker_config(worker, private) for worker in WORKER_TYPES} | {"main": main_config(private)}
    authority = {name: config["federation_custom_ca_list"] for name, config in files.items() if "federation_custom_ca_list" in config}
    assert authority == {"federation-sender": [SPEC.paths.federation_authority]}
    assert "federation_custom_ca_list" not in homeserver_config(private)
    assert all("federation_custom_ca_list" not in worker_config(worker, FEDERATING) for worker in WORKER_TYPES)


def test_nobody_vouches_for_others_but_whom_the_site_names() -> None:
    named = evolve(SPEC, federation=FederationOptions(key_servers=("keys.example",)))
    assert homeserver_config(named)["trusted_key_servers"] == [{"server_name": "keys.example"}]
    assert homeserver_config(FEDERATING)["trusted_key_servers"] == homeserver_config(SPEC)["trusted_key_servers"] == []


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
    config = homeserver_config(evolve(SPEC, options=HomeserverOptions(url_previews=True)))
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
    login = evolve(LOGIN, ldap=evolve(DIRECTORY, bind_dn="cn=matrix"))
    spec = evolve(FEDERATING, turn=("turn:x",), calls_host="rtc.example.org", login=login)
    shards = shard_config(topology({worker.name: 1 for worker in WORKER_TYPES}), str)
    for config in (homeserver_config(spec), shards, main_config(spec), *(worker_config(worker, spec) for worker in WORKER_TYPES)):
        for key, value in options(config):
            if re.search("secret|password|signing_key|credential|access_key", key) and key != "password_config":
                assert key.endswith(("_path", "_file")), key
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
def test_a_sites_own_options_cannot_undo_what_the_platform_sets(option: str) -> None:
    with pytest.raises(OptionError, match=rf"homeserver\.extra\.{option}: the platform sets {option}: "):
        homeserver_config(with_extra({option: "x"}))


def test_a_sites_own_options_are_kept_in_sections_of_the_platform_too() -> None:
    own = {"max_avatar_size": "10M", "presence": {"include_offline_users_on_sync": True}, "turn_uris": ["turn:turn.example.net"]}
    config = homeserver_config(with_extra(own))
    assert config["max_avatar_size"] == "10M"
    assert config["presence"] == {"enabled": True, "include_offline_users_on_sync": True}
    assert config["turn_uris"] == ["turn:turn.example.net"]
    assert not config.keys() & {"listeners", "modules"}


def test_an_option_of_the_platform_is_refused_with_the_one_to_use() -> None:
    with pytest.raises(OptionError, match=r"homeserver\.extra\.presence\.enabled: .*: use homeserver\.presence$"):
        homeserver_config(with_extra({"presence": {"enabled": False}}))


def test_every_option_to_use_is_one_of_a_site_and_sets_what_is_said() -> None:
    named = {key for words in USE.values() for key in words.split(" and ")}
    assert named - OPTIONS.keys() == set()
    everything = evolve(
        FEDERATING,
        registration=RegistrationOptions(enabled=True),
        turn=("turn:turn.example.org",),
        media=MediaOptions(local_lifetime="90d"),
        old_signing_keys=(("ed25519:a_1", OldSigningKey("key", 1)),),
        options=HomeserverOptions(message_lifetime="2y", auto_join_rooms=("#a:example.org",), server_notices=ServerNotices()),
        application_services=(("telegram", ApplicationServiceOptions(url="http://telegram:29317", bot="telegrambot")),),
    )
    written = homeserver_config(everything).keys() | worker_config(MEDIA_REPOSITORY, everything).keys()
    assert USE.keys() - written == {"email", "federation_domain_whitelist", "modules", "oidc_providers"}


def with_extra(options: dict[str, Any]) -> HomeserverSpec:
    return evolve(SPEC, options=HomeserverOptions(extra=Settings(json.dumps(options))))


def test_a_limit_of_the_site_replaces_one_limit_and_no_other() -> None:
    strict = evolve(SPEC, options=HomeserverOptions(rate_limits=RateLimitOptions(failed_logins=RateLimit(per_second=0.1, burst=3))))
    before, after = homeserver_config(SPEC), homeserver_config(strict)
    assert after["rc_login"] == {**before["rc_login"], "failed_attempts": {"per_second": 0.1, "burst_count": 3}}
    assert {name for name in after if after[name] != before[name]} == {"rc_login"}


DIRECTORY = LdapOptions(servers=("ldaps://ldap.example.com",), cidrs=("192.0.2.7/32",), base="dc=example,dc=com")
LOGIN = LoginOptions(
    passwords=False,
    providers=(("corporate", ProviderOptions(issuer="https://id.example.com", client_id="matrix")),),
    ldap=DIRECTORY,
)


def test_who_finds_out_who_people_are_knows_the_providers_and_nobody_else_does() -> None:
    spec = evolve(SPEC, login=LOGIN)
    configs = {worker.name: worker_config(worker, spec) for worker in WORKER_TYPES} | {MAIN: main_config(spec)}
    assert {name for name, config in configs.items() if "oidc_providers" in config} == AUTHENTICATING
    assert {name for name, config in configs.items() if "modules" in config} == AUTHENTICATING
    assert {"main", "client-reader", "event-creator", "sso-login", "device-lists"} == AUTHENTICATING


def test_with_the_service_synapse_knows_no_provider() -> None:
    spec = evolve(SPEC, login=LOGIN, authentication=Endpoint(Pods("mas", "matrix", ()), "mas", 8080, Port("http", 8080)))
    assert not {"oidc_providers", "modules"} & main_config(spec).keys()


def test_passwords_that_are_off_leave_the_directory_to_be_asked() -> None:
    """Synapse asks no module for passwords where `enabled` is false."""

    def said(login: LoginOptions) -> Any:
        return homeserver_config(evolve(SPEC, login=login))["password_config"]

    assert said(LoginOptions()) == {"enabled": True, "localdb_enabled": True}
    assert said(LOGIN) == {"enabled": True, "localdb_enabled": False}
    assert said(evolve(LOGIN, ldap=None)) == {"enabled": False, "localdb_enabled": False}


def test_a_module_is_loaded_where_the_site_says() -> None:
    spec = evolve(SPEC, modules=(Module("a.Everywhere", {}), Module("b.There", {"x": 1}, frozenset({"receipts"}))))
    loaded = {worker.name: [module["module"] for module in worker_config(worker, spec)["modules"]] for worker in WORKER_TYPES}
    assert loaded.pop("receipts") == ["a.Everywhere", "b.There"]
    assert set(map(tuple, loaded.values())) == {("a.Everywhere",)}


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
