"""The Matrix Authentication Service: what its configuration says, and what changes in Synapse and the proxy beside it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.postgresql.component import SQL, Database
from kit.network import Endpoint, Pods, Port
from kit.options import OptionError, Settings
from kit.quantities import mib
from main_instance.authentication_service.component import LOGIN_ROUTES
from main_instance.authentication_service.configuration import ServiceSpec, service_config
from main_instance.haproxy.configuration import HAProxySpec, Pool, Upstream, configuration
from main_instance.haproxy.well_known import WellKnown
from main_instance.login.configuration import ulid
from main_instance.login.options import LoginOptions, ProviderOptions
from main_instance.mail.options import MailOptions
from main_instance.synapse.configuration import homeserver_config, shard_config
from main_instance.synapse.options import HomeserverOptions, RegistrationOptions
from main_instance.synapse.topology import topology
from main_instance.synapse.worker_type import Scaling
from main_instance.synapse.workers import MAIN, MAS_HELPER, SSO_LOGIN, WORKER_TYPES
from tests.routing import DELEGATED, route
from tests.unit.test_synapse_configuration import SPEC as HOMESERVER
from tests.unit.test_synapse_configuration import options

ENDPOINT = Endpoint(Pods("postgresql-main", "matrix", ()), "postgresql-main-rw.matrix.svc.cluster.local", 5432, SQL)
SPEC = ServiceSpec(
    server_name="example.com",
    host="auth.example.com",
    homeserver_url="http://haproxy:8009/",
    database=Database(ENDPOINT, "postgresql-main-rw", "authentication_service", "authentication_service", "password", "ca", "matrix"),
    database_connections=5,
    registration=RegistrationOptions(),
)
PROVIDER = ProviderOptions(issuer="https://id.example.com", client_id="matrix")
LINK = Endpoint(Pods("mas", "matrix", ()), "matrix-authentication-service", 8080, Port("http", 8080))

# Every option that the configuration sets, as docs/config.schema.json of release 1.22.0 spells it (a list's items are `[]`). The program
# takes a key that it does not know without a word, so that a slip of the pen would go unnoticed.
OPTIONS = {
    *("http.public_base", "http.trusted_proxies[]", "http.listeners[].name", "http.listeners[].resources[].name"),
    *("http.listeners[].binds[].address",),
    *(f"database.{name}" for name in ("host", "port", "username", "password_file", "database")),
    *(f"database.{name}" for name in ("ssl_mode", "ssl_ca_file", "max_connections")),
    *(f"matrix.{name}" for name in ("kind", "homeserver", "endpoint", "secret_file")),
    *("secrets.encryption_file", "secrets.keys[].key_file"),
    *("passwords.enabled", "passwords.schemes[].version", "passwords.schemes[].algorithm", "passwords.schemes[].unicode_normalization"),
    *(f"account.password_registration_{name}" for name in ("enabled", "token_required", "email_required")),
    *("account.email_change_allowed", "account.password_recovery_enabled"),
    *(f"rate_limiting.{name}.{of}" for name in ("login.per_ip", "registration") for of in ("burst", "per_second")),
    "telemetry.metrics.exporter",
    *(f"upstream_oauth2.providers[].{name}" for name in ("id", "synapse_idp_id", "human_name", "issuer", "client_id", "scope")),
    *(f"upstream_oauth2.providers[].{name}" for name in ("client_secret_file", "token_endpoint_auth_method")),
    *(
        f"upstream_oauth2.providers[].claims_imports.{claim}.{name}"
        for claim in ("localpart", "displayname", "email")
        for name in ("action", "template")
    ),
    "upstream_oauth2.providers[].claims_imports.localpart.on_conflict",
    *(f"email.{name}" for name in ("from", "reply_to", "transport", "mode", "hostname", "port", "username")),
}
RESOURCES = {"health", "prometheus", "discovery", "human", "graphql", "oauth", "compat", "assets", "adminapi", "connection-info"}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all values that are neither mappings nor lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path


def resources(config: dict[str, Any], listener: str) -> set[str]:
    return {r["name"] for found in config["http"]["listeners"] if found["name"] == listener for r in found["resources"]}


# --- Its own configuration


def test_every_option_is_one_that_the_program_knows() -> None:
    login = LoginOptions(providers=(("corporate", evolve(PROVIDER, existing_accounts=True)),))
    mail = MailOptions(server="smtp.example.com", sender="matrix@example.com", user="matrix")
    assert set(leaves(service_config(evolve(SPEC, trusted_proxies=("10.0.0.0/8",), mail=mail, login=login)))) == OPTIONS


def test_addresses_are_confirmed_and_passwords_recovered_where_there_is_mail() -> None:
    mail = MailOptions(server="smtp.example.com", sender="matrix@example.com")
    for spec in (SPEC, evolve(SPEC, mail=mail)):
        account = service_config(spec)["account"]
        assert account["email_change_allowed"] is account["password_recovery_enabled"] is (spec.mail is not None)
        assert ("email" in service_config(spec)) is (spec.mail is not None)


def test_the_configuration_holds_no_secret() -> None:
    for key, value in options(service_config(SPEC)):
        if re.search(r"^(password|secret|key|encryption)(_file)?$", key):
            assert key.endswith("_file"), key
            assert value.startswith("/secrets/"), key


def test_health_and_metrics_are_not_where_the_public_is_and_administration_is_nowhere() -> None:
    config = service_config(SPEC)
    assert resources(config, "internal") == {"health", "prometheus"}
    assert resources(config, "public") == RESOURCES - {"health", "prometheus", "adminapi", "connection-info"}


@pytest.mark.parametrize("registration", [True, False])
def test_people_sign_up_where_the_site_lets_them_and_never_without_a_token(registration: bool) -> None:
    account = service_config(evolve(SPEC, registration=RegistrationOptions(enabled=registration)))["account"]
    assert account["password_registration_enabled"] is registration
    assert account["password_registration_token_required"] is True


def test_nothing_waits_for_mail_that_is_never_sent() -> None:
    config = service_config(SPEC)
    assert "email" not in config, "the default sends none"
    waiting = ("password_registration_email_required", "email_change_allowed", "password_recovery_enabled")
    assert [config["account"][name] for name in waiting] == [False, False, False]


def test_passwords_hashed_by_synapse_are_understood_and_new_ones_are_hashed_better() -> None:
    schemes = {scheme.pop("version"): scheme for scheme in map(dict, service_config(SPEC)["passwords"]["schemes"])}
    # docs/setup/migration.md of the service: what the migration of Synapse's accounts expects under number 1.
    assert schemes[1] == {"algorithm": "bcrypt", "unicode_normalization": True}
    assert schemes[max(schemes)] == {"algorithm": "argon2id"}


def test_the_database_is_reached_by_a_verified_name_and_no_pool_is_shared() -> None:
    database = service_config(SPEC)["database"]
    assert database["ssl_mode"] == "verify-full"
    assert (database["host"], database["port"], database["max_connections"]) == ("postgresql-main-rw", 5432, 5)


@pytest.mark.parametrize("proxies", [(), ("10.42.0.0/16", "192.0.2.1/32")])
def test_only_the_proxies_of_the_site_are_believed_and_not_whoever_has_a_private_address(proxies: tuple[str, ...]) -> None:
    # Left out, the option would mean all private addresses, so that the people of an intranet would share one rate limit.
    assert service_config(evolve(SPEC, trusted_proxies=proxies))["http"]["trusted_proxies"] == list(proxies)


# --- Synapse beside it


def test_mas_helper_takes_the_place_of_sso_login_and_there_are_still_22_types() -> None:
    assert len(DELEGATED) == 22
    assert [worker.name for worker in DELEGATED] == [worker.name.replace("sso-login", "mas-helper") for worker in WORKER_TYPES]


@given(st.fixed_dictionaries({worker.name: st.just(1) if worker.scaling is Scaling.SINGLE else st.integers(1, 9) for worker in DELEGATED}))
def test_the_topology_follows_from_the_types_that_the_site_has(counts: dict[str, int]) -> None:
    site = topology(counts, DELEGATED)
    assert "sso-login-0" not in site.workers
    assert sum(name.startswith("mas-helper-") for name in site.workers) == counts["mas-helper"]
    ones = {worker.name: 1 for worker in WORKER_TYPES}
    same = counts | {"sso-login": 1}
    del same["mas-helper"]
    assert same.keys() == ones.keys()
    assert shard_config(site, str) == shard_config(topology(same), str), "no shard hangs on either of the two"


def test_the_types_of_one_kind_of_site_are_refused_by_the_other() -> None:
    with pytest.raises(ValueError, match="sso-login: no such worker type"):
        topology({worker.name: 1 for worker in WORKER_TYPES}, DELEGATED)


REQUESTS = [
    ("POST", "/_synapse/mas/provision_user", "mas-helper"),
    ("GET", "/_synapse/mas/query_user", "mas-helper"),
    ("GET", "/_matrix/client/v1/auth_metadata", "mas-helper"),
    ("GET", "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata", "mas-helper"),
    ("GET", "/_matrix/client/v3/auth_metadata", MAIN),
    ("GET", "/_synapse/client/pick_idp", MAIN),
    ("POST", "/_matrix/client/v3/register", "client-reader"),
    ("GET", "/_matrix/client/v3/account/whoami", "client-reader"),
]


@pytest.mark.parametrize(("method", "path", "taker"), REQUESTS)
def test_a_request_goes_to_its_type_where_login_is_delegated(method: str, path: str, taker: str) -> None:
    assert route(method, path, types=DELEGATED) == taker


def test_mas_helper_grows_with_no_load_and_main_stands_in_for_it() -> None:
    assert (MAS_HELPER.scaling, MAS_HELPER.autoscaled, MAS_HELPER.fallback) == (Scaling.ELASTIC, False, MAIN)


def test_synapse_has_no_login_of_its_own_beside_the_service() -> None:
    config = homeserver_config(evolve(HOMESERVER, authentication=LINK))
    assert config["matrix_authentication_service"] == {
        "enabled": True,
        "endpoint": "http://matrix-authentication-service:8080/",
        "secret_path": HOMESERVER.paths.authentication_secret,
    }
    assert config["enable_registration"] is False
    assert "matrix_authentication_service" not in homeserver_config(HOMESERVER)


def test_people_sign_up_at_the_service_and_never_at_synapse_beside_it() -> None:
    open_to_all = evolve(HOMESERVER, registration=RegistrationOptions(enabled=True))
    config = homeserver_config(open_to_all)
    assert (config["enable_registration"], config["registration_requires_token"]) == (True, True)
    config = homeserver_config(evolve(open_to_all, authentication=LINK))
    assert config["enable_registration"] is False
    assert "registration_requires_token" not in config


def test_a_sites_own_features_do_not_undo_those_that_the_service_needs() -> None:
    assert homeserver_config(evolve(HOMESERVER, authentication=LINK))["experimental_features"] == {"msc4108_enabled": True}
    own = HomeserverOptions(extra=Settings('{"experimental_features": {"msc3814_enabled": true}}'))
    both = homeserver_config(evolve(HOMESERVER, options=own, authentication=LINK))["experimental_features"]
    assert both == {"msc4108_enabled": True, "msc3814_enabled": True}
    other = HomeserverOptions(extra=Settings('{"experimental_features": {"msc4108_enabled": false}}'))
    with pytest.raises(OptionError, match=r"experimental_features\.msc4108_enabled"):
        homeserver_config(evolve(HOMESERVER, options=other, authentication=LINK))


def test_the_service_has_the_providers_of_the_site_by_ids_that_stay() -> None:
    login = LoginOptions(passwords=False, providers=(("corporate", PROVIDER), ("other", PROVIDER)))
    config = service_config(evolve(SPEC, login=login))
    assert config["passwords"]["enabled"] is False
    corporate, other = config["upstream_oauth2"]["providers"]
    assert corporate["id"] == ulid("corporate") == "2R30S9A19QG9S68RMM8WERDGC5"
    assert re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", other["id"])
    assert corporate["client_secret_file"] == "/secrets/login/login-corporate/client_secret"
    assert corporate["synapse_idp_id"] == "oidc-corporate"
    assert "upstream_oauth2" not in service_config(SPEC)


def test_a_sites_own_options_of_the_service_stand_beside_those_of_the_platform() -> None:
    config = service_config(
        evolve(SPEC, extra=Settings('{"account": {"password_change_allowed": false}, "branding": {"service_name": "Ex"}}'))
    )
    assert config["account"]["password_change_allowed"] is False
    assert config["account"]["password_registration_enabled"] is False
    with pytest.raises(OptionError, match=r"authentication_service\.extra\.passwords\.enabled: .* use login\.passwords"):
        service_config(evolve(SPEC, extra=Settings('{"passwords": {"enabled": false}}')))


# --- The proxy and the server name


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/_matrix/client/v3/login", True),
        ("/_matrix/client/r0/login/sso/redirect/01HFVBY12TMNTYTBV8W921M5FA", True),
        ("/_matrix/client/v3/logout/all", True),
        ("/_matrix/client/unstable/refresh", True),
        ("/_matrix/client/v3/login_token", False),
        ("/_matrix/client/v3/user/@a:example.com/account_data/login", False),
        ("/_matrix/client/v1/auth_metadata", False),
        ("/_matrix/federation/v1/login", False),
    ],
)
def test_the_service_takes_the_logins_of_clients_and_nothing_else(path: str, taken: bool) -> None:
    assert any(re.search(candidate.pattern, path) for candidate in LOGIN_ROUTES) is taken


def proxy(*upstreams: Upstream) -> HAProxySpec:
    return HAProxySpec(
        pools=tuple(Pool(worker, 2, "synapse.matrix.svc.cluster.local.") for worker in DELEGATED),
        main="synapse-0.synapse.matrix.svc.cluster.local.",
        max_upload=mib(50),
        trusted_proxies=(),
        upstreams=upstreams,
    )


LOGIN = Upstream("login", LOGIN_ROUTES, "login.matrix.svc.cluster.local.", 8080, 8081)


def test_what_a_service_takes_no_worker_gets() -> None:
    files = configuration(proxy(LOGIN))
    takers = [
        line.split()[1] for line in files["routes.map"].splitlines()[1:] if re.search(line.split()[0], "POST:/_matrix/client/v3/login")
    ]
    assert takers == ["login", "client-reader"], "the first match decides"
    section = files["haproxy.cfg"].split("\nbackend login ")[1].split("\nbackend ")[0]
    assert "server login-0 login.matrix.svc.cluster.local.:8080 id 1" in section
    assert re.search(r"default-server .* port 8081$", section, re.MULTILINE)


def test_a_proxy_is_ready_because_of_synapse_alone() -> None:
    assert re.findall(r"acl synapse nbsrv\((login)\)", configuration(proxy(LOGIN))["haproxy.cfg"]) == []


def test_a_proxy_without_services_is_as_it_was() -> None:
    with_it, without = configuration(proxy(LOGIN)), configuration(proxy())
    assert [name for name in with_it if with_it[name] != without[name]] == ["haproxy.cfg", "routes.map"]
    assert "login" not in without["haproxy.cfg"].split("\nbackend ", 1)[1]


def test_two_backends_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two backends have one name"):
        configuration(proxy(evolve(LOGIN, name=MAIN)))


def test_the_server_name_says_where_people_log_in() -> None:
    client = WellKnown("https://matrix.example.com", issuer="https://auth.example.com/").documents["matrix/client"]
    assert client["org.matrix.msc2965.authentication"] == {
        "issuer": "https://auth.example.com/",
        "account": "https://auth.example.com/account/",
    }
    assert "org.matrix.msc2965.authentication" not in WellKnown("https://matrix.example.com").documents["matrix/client"]


def test_single_sign_on_of_synapse_is_what_is_replaced() -> None:
    assert SSO_LOGIN in WORKER_TYPES
    assert SSO_LOGIN not in DELEGATED
