"""What the three providers are given, from the Secrets that components declare."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.secret_scan import find_secrets
from infrastructure.programs import program_files
from infrastructure.secret_provider.options import SecretProvider, SecretStore
from infrastructure.secret_provider.providers import Rule, external_secret, made_by_job, request, rules
from kit.secrets import Composed, Copied, Fixed, Given, KeyRef, RandomText, RsaPrivateKey, SecretSpec, Shared, SynapseSigningKey
from services.secrets.recipes import complete
from tests.manifests.rules.schemas import Definitions

REDIS = SecretSpec("redis", "matrix", {"password": RandomText(), "redis.conf": Composed("requirepass {password}\n")})
SYNAPSE = SecretSpec(
    "synapse",
    "matrix",
    {
        "signing.key": SynapseSigningKey(),
        "macaroon_secret_key": RandomText(64),
        "oidc": RsaPrivateKey(2048),
        "login": Composed("{user}:{macaroon_secret_key} in {{braces}}"),
        "user": Fixed("synapse"),
    },
)
LIVEKIT = SecretSpec("livekit-redis", "matrix-rtc", {"password": Shared(REDIS.key("password"))})
SYGNAL = SecretSpec("sygnal", "matrix", {"apns.p8": Given("the APNs key of your app")})
READER = SecretSpec("reader", "matrix-li", {"password": Copied(KeyRef("matrix", "main-app", "password")), "user": Fixed("reader")})
ALL = (READER, SYGNAL, LIVEKIT, SYNAPSE, REDIS)
STORE = SecretStore(name="vault")


def test_the_job_makes_everything_in_an_order_in_which_it_can() -> None:
    made = made_by_job(ALL, SecretProvider.GENERATE)
    assert set(made) == set(ALL)
    assert made.index(REDIS) < made.index(LIVEKIT)
    assert made[-1] == READER


@pytest.mark.parametrize("provider", [SecretProvider.EXTERNAL, SecretProvider.MANUAL])
def test_under_another_provider_the_job_makes_only_what_nobody_outside_can(provider: SecretProvider) -> None:
    assert made_by_job(ALL, provider) == (READER,)


def test_the_request_is_the_same_bytes_for_the_same_secrets() -> None:
    texts = {request(made_by_job(order, SecretProvider.GENERATE)) for order in (ALL, ALL[::-1], ALL[2:] + ALL[:2])}
    assert len(texts) == 1


def test_the_generator_understands_every_recipe_of_the_request() -> None:
    document = json.loads(request(made_by_job(ALL, SecretProvider.GENERATE)))
    made = {}
    for secret in document["secrets"]:
        made[secret["name"]] = complete(secret["keys"], {}, {"password": b"from the source"} if secret["name"] != "redis" else {})
    assert made["sygnal"].missing == {"apns.p8": "the APNs key of your app"}
    assert all(not result.missing for name, result in made.items() if name != "sygnal")
    synapse = made["synapse"].added
    assert synapse["login"] == b"synapse:" + synapse["macaroon_secret_key"] + b" in {braces}"
    assert made["redis"].added["redis.conf"] == b"requirepass " + made["redis"].added["password"] + b"\n"


def test_the_request_and_the_program_hold_no_secret() -> None:
    assert find_secrets({"request.json": request(made_by_job(ALL, SecretProvider.GENERATE)), **program_files("secrets")}) == ()


def test_the_program_files_are_all_that_the_program_imports() -> None:
    assert set(program_files("secrets")) == {path.name for path in Path("services/secrets").glob("*.py")}


def test_the_rights_are_the_least_that_suffice() -> None:
    assert rules(made_by_job(ALL, SecretProvider.GENERATE)) == (
        Rule("matrix", ("create",)),
        Rule("matrix", ("get", "patch"), ("redis", "sygnal", "synapse")),
        Rule("matrix", ("get",), ("main-app",)),
        Rule("matrix-li", ("create",)),
        Rule("matrix-li", ("get", "patch"), ("reader",)),
        Rule("matrix-rtc", ("create",)),
        Rule("matrix-rtc", ("get", "patch"), ("livekit-redis",)),
    )
    assert rules(()) == ()


@given(st.lists(st.sampled_from(ALL), unique=True))
def test_no_rule_but_create_is_without_names_and_none_may_delete_or_list(specs: list[SecretSpec]) -> None:
    for rule in rules(specs):
        assert rule.names or rule.verbs == ("create",)
        assert set(rule.verbs) <= {"create", "get", "patch"}


def test_an_external_secret_fetches_what_is_kept_and_composes_the_rest() -> None:
    assert external_secret(REDIS, STORE) == {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"},
        "target": {
            "name": "redis",
            "creationPolicy": "Owner",
            "deletionPolicy": "Retain",
            "template": {
                "engineVersion": "v2",
                "mergePolicy": "Merge",
                "type": "Opaque",
                "data": {"redis.conf": 'requirepass {{ index . "password" }}\n'},
            },
        },
        "data": [{"secretKey": "password", "remoteRef": {"key": "matrix-platform/matrix/redis", "property": "password"}}],
    }


def test_an_external_secret_without_composed_keys_has_no_template() -> None:
    assert "template" not in external_secret(SYGNAL, STORE)["target"]
    login = SecretSpec("login", "matrix", {"password": RandomText()}, type="kubernetes.io/basic-auth")
    assert external_secret(login, STORE)["target"]["template"] == {"engineVersion": "v2", "mergePolicy": "Merge", "type": login.type}


def test_a_shared_key_is_fetched_from_the_entry_of_its_source() -> None:
    (entry,) = external_secret(LIVEKIT, STORE, prefix="apps")["data"]
    assert entry == {"secretKey": "password", "remoteRef": {"key": "apps/matrix/redis", "property": "password"}}


def test_a_secret_that_only_the_cluster_can_fill_is_no_external_secret() -> None:
    with pytest.raises(ValueError, match="the Job makes it"):
        external_secret(READER, STORE)


def test_external_secrets_follow_the_definition_of_their_kind() -> None:
    definitions = Definitions.at_hand()
    resource = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "one"}}
    for spec in (REDIS, SYNAPSE, LIVEKIT, SYGNAL):
        assert definitions.problems([resource | {"spec": external_secret(spec, STORE)}]) == []
    assert definitions.problems([resource | {"spec": {**external_secret(REDIS, STORE), "unknown": 1}}])
