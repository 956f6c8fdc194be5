"""What a component may declare as a secret, and what is refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.secrets import (
    ALPHANUMERIC,
    HEX,
    MINIMUM_BITS,
    Composed,
    Copied,
    Fixed,
    Given,
    KeyRef,
    RandomText,
    Recipe,
    RsaPrivateKey,
    SecretSpec,
    Shared,
    SynapseSigningKey,
    Text,
    Value,
    in_order,
)

KEYS = st.text(st.sampled_from(string.ascii_letters + string.digits + "-_."), min_size=1, max_size=12).filter(
    lambda key: key != "." and not key.startswith("..")
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


def spec(**keys: Recipe) -> SecretSpec:
    return SecretSpec("synapse", "matrix", keys)


@pytest.mark.parametrize("namespace", ["", "Matrix", "a.b", "-a", "a-", "a" * 64, "a/b", "a\n"])
def test_a_namespace_that_kubernetes_refuses_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        SecretSpec("name", namespace, {"key": RandomText()})


@pytest.mark.parametrize("name", ["", "Synapse", "a..b", ".a", "a-", "a_b", "a" * 254, "a\n", "../x"])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Secret"):
        SecretSpec(name, "matrix", {"key": RandomText()})


@pytest.mark.parametrize("key", ["", ".", "..", "..data", "a/b", "a b", "ä", "k" * 254, "k\n"])
def test_a_key_that_kubernetes_refuses_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        SecretSpec("synapse", "matrix", {key: RandomText()})


def test_names_that_kubernetes_allows_are_allowed() -> None:
    secret = SecretSpec("main-app.v1", "matrix-li", {"tls.crt": RandomText(), "_x-1": RandomText(), ".pgpass": RandomText()})
    assert str(secret.key(".pgpass")) == "matrix-li/main-app.v1:.pgpass"


@given(st.integers(0, 80), st.sampled_from([ALPHANUMERIC, HEX, "01", string.ascii_lowercase]))
def test_a_random_value_is_never_weaker_than_the_minimum(length: int, alphabet: str) -> None:
    strong = len(alphabet) ** length >= 2**MINIMUM_BITS
    if strong:
        RandomText(length, alphabet)
    else:
        with pytest.raises(ValueError, match="bits"):
            RandomText(length, alphabet)


@pytest.mark.parametrize("alphabet", ["", "aab", "abc ", 'abc"', "abc\n", "abc$", "abcé"])
def test_an_alphabet_that_is_weaker_than_it_seems_or_needs_quoting_is_refused(alphabet: str) -> None:
    with pytest.raises(ValueError, match=r"alphabet|bits"):
        RandomText(200, alphabet)


def test_an_rsa_key_has_a_size_in_use() -> None:
    with pytest.raises(ValueError, match="1024"):
        RsaPrivateKey(1024)


def test_a_given_key_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="description"):
        Given(" ")


@given(st.lists(st.one_of(TEXTS.map(Text), KEYS.map(Value)), max_size=8))
def test_a_template_is_read_back_as_what_it_was_written_from(parts: list[Text | Value]) -> None:
    written = "".join(p.text.replace("{", "{{").replace("}", "}}") if isinstance(p, Text) else f"{{{p.key}}}" for p in parts)
    read = Composed(written)
    values = {part.key: f"<{part.key}>" for part in parts if isinstance(part, Value)}
    expected = "".join(part.text if isinstance(part, Text) else values[part.key] for part in parts)
    assert "".join(part.text if isinstance(part, Text) else values[part.key] for part in read.parts) == expected
    assert read.references == set(values)


@pytest.mark.parametrize("template", ["{", "}", "{}", "{a!r}", "{a:>9}", "{a[0]}", "{a b}", "{a/b}"])
def test_a_template_may_only_name_keys(template: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Composed(template)


def test_a_composed_key_may_only_name_keys_of_its_own_secret() -> None:
    with pytest.raises(ValueError, match="composed of other"):
        spec(password=RandomText(), config=Composed("{password}{other}"))


def test_keys_cannot_be_composed_of_each_other() -> None:
    with pytest.raises(ValueError, match="a and b are composed of each other"):
        spec(a=Composed("{b}"), b=Composed("{a}"))
    with pytest.raises(ValueError, match="composed of each other"):
        spec(a=Composed("{a}"))


def test_a_secret_has_keys() -> None:
    with pytest.raises(ValueError, match="needs keys"):
        SecretSpec("synapse", "matrix", {})


@given(st.permutations(range(6)), st.data())
def test_a_composed_key_comes_down_to_keys_that_are_not_composed(order: list[int], data: st.DataObject) -> None:
    names = [f"k{position}" for position in order]
    keys: dict[str, RandomText | Composed] = {names[0]: RandomText()}
    for index, name in enumerate(names[1:], start=1):
        used = data.draw(st.lists(st.sampled_from(names[:index]), min_size=1, max_size=3))
        keys[name] = Composed("-".join(f"{{{key}}}" for key in used)) if data.draw(st.booleans()) else RandomText()
    secret = SecretSpec("s", "n", dict(sorted(keys.items())))
    values = {key: f"<{key}>" for key, recipe in keys.items() if isinstance(recipe, RandomText)}

    def nested(key: str) -> str:
        recipe = keys[key]
        if not isinstance(recipe, Composed):
            return values[key]
        return "".join(part.text if isinstance(part, Text) else nested(part.key) for part in recipe.parts)

    for key in keys:
        assert "".join(part.text if isinstance(part, Text) else values[part.key] for part in secret.parts(key)) == nested(key)


def test_a_secret_with_copied_keys_keeps_no_value_of_its_own() -> None:
    copied = Copied(KeyRef("matrix", "main-app", "password"))
    made = spec(password=copied, user=Fixed("synapse"), uri=Composed("postgresql://{user}:{password}@main-rw/synapse"))
    assert made.made_in_cluster
    for other in (RandomText(), SynapseSigningKey(), RsaPrivateKey(), Given("x"), Shared(KeyRef("matrix", "redis", "password"))):
        with pytest.raises(ValueError, match="Secret of their own"):
            spec(password=copied, other=other)


def test_a_reference_names_a_key_that_there_is() -> None:
    secret = spec(password=RandomText())
    assert secret.key("password") == KeyRef("matrix", "synapse", "password")
    with pytest.raises(KeyError):
        secret.key("passwort")


def test_a_shared_key_has_an_original() -> None:
    redis = SecretSpec("redis", "matrix", {"password": RandomText(), "user": Fixed("default"), "config": Composed("pass {password}")})
    livekit = SecretSpec("livekit-redis", "matrix-rtc", {"password": Shared(redis.key("password"))})
    assert in_order([livekit, redis]) == (redis, livekit)
    with pytest.raises(ValueError, match="does not exist"):
        in_order([livekit])
    for key in ("config", "user"):
        with pytest.raises(ValueError, match="is itself"):
            in_order([redis, SecretSpec("x", "matrix-rtc", {"x": Shared(redis.key(key))})])
    with pytest.raises(ValueError, match="is itself shared"):
        in_order([redis, livekit, SecretSpec("x", "y", {"x": Shared(livekit.key("password"))})])


def test_secrets_cannot_share_in_a_circle() -> None:
    first = SecretSpec("a", "n", {"own": RandomText(), "other": Shared(KeyRef("n", "b", "own"))})
    second = SecretSpec("b", "n", {"own": RandomText(), "other": Shared(KeyRef("n", "a", "own"))})
    with pytest.raises(ValueError, match="n/a and n/b share values with each other"):
        in_order([first, second])


def test_two_secrets_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        in_order([spec(a=RandomText()), spec(b=RandomText())])
    assert in_order([spec(a=RandomText()), SecretSpec("synapse", "other", {"a": RandomText()})])


@given(st.data())
def test_the_order_is_the_same_however_secrets_are_declared_and_sources_come_first(data: st.DataObject) -> None:
    specs = [SecretSpec("s0", "n", {"own": RandomText()})]
    for number in range(1, 7):
        keys: dict[str, RandomText | Shared | Copied] = {"own": RandomText()}
        if data.draw(st.booleans()):
            source = data.draw(st.sampled_from([s for s in specs if not s.made_in_cluster]))
            keys["other"] = Shared(source.key("own"))
        elif data.draw(st.booleans()):
            keys = {"own": Copied(KeyRef("n", "operators", "password"))}
        specs.append(SecretSpec(f"s{number}", data.draw(st.sampled_from(["n", "m"])), keys))
    ordered = in_order(specs)
    assert in_order(data.draw(st.permutations(specs))) == ordered
    place = {(s.namespace, s.name): position for position, s in enumerate(ordered)}
    for secret in specs:
        for _, recipe in secret.keys:
            if isinstance(recipe, Shared):
                assert place[recipe.source.namespace, recipe.source.secret] < place[secret.namespace, secret.name]
    in_cluster = [secret.made_in_cluster for secret in ordered]
    assert in_cluster == sorted(in_cluster)
