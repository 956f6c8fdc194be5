"""HAProxy's configuration as text: what holds for every set of worker types, of any size."""

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.quantities import mib
from main_instance.haproxy.configuration import TOKENS_MEMORY, HAProxySpec, Pool, Whose, configuration
from main_instance.synapse.worker_type import Balance, Route, Scaling, WorkerType
from main_instance.synapse.workers import WORKER_TYPES
from tests.live.regular_expressions import examples

DOMAIN = "synapse.matrix.svc.cluster.local."
SPEC = HAProxySpec(
    pools=tuple(Pool(worker, 3, DOMAIN) for worker in WORKER_TYPES),
    main=f"main-0.{DOMAIN}",
    max_upload=mib(50),
    trusted_proxies=("10.0.0.0/24",),
    federation=True,
)
ASKING = attrs.evolve(SPEC, whose=Whose())


def worker(name: str, *routes: str, fallback: str | None = None, balance: Balance = Balance.NONE) -> WorkerType:
    return WorkerType(name, "", Scaling.ELASTIC, routes=tuple(map(Route, routes)), fallback=fallback, balance=balance)


def with_types(*types: WorkerType) -> HAProxySpec:
    return attrs.evolve(SPEC, pools=tuple(Pool(worker, 2, DOMAIN) for worker in types))


def backends(config: str) -> dict[str, list[str]]:
    """Backend to its lines."""
    sections = re.split(r"^(?=\S)", config, flags=re.MULTILINE)
    return {section.split()[1]: section.splitlines()[1:] for section in sections if section.startswith("backend ")}


def servers(lines: list[str]) -> list[tuple[str, int]]:
    """Name and id of each server of a backend."""
    return [(found[1], int(found[2])) for line in lines if (found := re.fullmatch(r"    server (\S+) \S+ id (\d+)", line))]


PATTERNS = st.builds(
    lambda segments, end: "^" + "".join(segments) + end,
    st.lists(st.sampled_from(["/a", "/rooms", "/[^/]+", "/(?:a|b)"]), min_size=1, max_size=2),
    st.sampled_from(["", "$", "/"]),
)
PATHS = ("/a", "/b", "/rooms/", "/rooms/x", "/a/rooms", "/rooms/a/b", "/x/a/")


ROUTES = st.lists(st.builds(Route, PATTERNS, st.sampled_from([(), ("GET", "HEAD"), ("POST",)]), federation=st.booleans()), max_size=3)
POOLS = st.lists(
    st.builds(
        lambda name, routes, balance, ceiling: Pool(
            WorkerType(name, "", Scaling.ELASTIC, routes=tuple(routes), balance=balance), ceiling, DOMAIN
        ),
        st.sampled_from(["sync", "reader", "media", "writer"]),
        ROUTES,
        st.sampled_from(Balance),
        st.integers(1, 8),
    ),
    unique_by=lambda pool: pool.worker.name,
)


@st.composite
def specs(draw: st.DrawFn) -> HAProxySpec:
    pools = draw(POOLS)
    always = [pool.worker.name for pool in pools if any(not route.federation for route in pool.worker.routes)]
    fallbacks = st.sampled_from([None, "main", *always])
    pools = [attrs.evolve(pool, worker=attrs.evolve(pool.worker, fallback=draw(fallbacks))) for pool in pools]
    return attrs.evolve(SPEC, pools=tuple(pools), federation=draw(st.booleans()))


@given(specs())
def test_every_instance_that_may_ever_exist_has_an_id_that_follows_from_its_name_alone(spec: HAProxySpec) -> None:
    sections = backends(configuration(spec)["haproxy.cfg"])
    assert servers(sections.pop("main")) == [("main-0", 1)]
    ceilings = {pool.worker.name: pool.ceiling for pool in spec.pools}
    for name, lines in sections.items():
        assert servers(lines) == [(f"{name}-{ordinal}", ordinal + 1) for ordinal in range(ceilings[name])]


@given(specs())
def test_every_pool_that_a_map_names_is_a_backend_and_every_backend_is_named(spec: HAProxySpec) -> None:
    files = configuration(spec)
    names = set(backends(files["haproxy.cfg"]))
    routed = [line.split() for line in files["routes.map"].splitlines() if not line.startswith("#")]
    assert {pool for _, pool in routed} | {"main"} == names
    assert {pool for line in files["fallbacks.map"].splitlines() for pool in line.split()} <= names


@given(specs())
def test_routes_stand_in_the_order_of_the_worker_types(spec: HAProxySpec) -> None:
    lines = [line.split() for line in configuration(spec)["routes.map"].splitlines()[1:]]
    expected = [(route, pool.worker.name) for pool in spec.pools for route in pool.worker.routes if spec.federation or not route.federation]
    assert [pool for _, pool in lines] == [name for _, name in expected]
    for (key, _), (route, _) in zip(lines, expected, strict=True):
        for method in ("GET", "POST"):
            for path in PATHS:
                matches = bool(re.search(route.pattern, path)) and (not route.methods or method in route.methods)
                assert bool(re.search(key, f"{method}:initial_sync:{path}")) == matches


@given(specs())
def test_a_higher_ceiling_adds_servers_and_changes_nothing_else(spec: HAProxySpec) -> None:
    higher = attrs.evolve(spec, pools=tuple(attrs.evolve(pool, ceiling=pool.ceiling + 1) for pool in spec.pools))
    new = {f"server {pool.worker.name}-{pool.ceiling} " for pool in spec.pools}
    before, after = configuration(spec), configuration(higher)
    lines = after["haproxy.cfg"].splitlines()
    assert [line for line in lines if not line.lstrip().startswith(tuple(new))] == before["haproxy.cfg"].splitlines()
    assert {**after, "haproxy.cfg": ""} == {**before, "haproxy.cfg": ""}


def test_every_file_that_the_configuration_names_is_among_the_files() -> None:
    for spec in (SPEC, ASKING):
        files = configuration(spec)
        named = set(re.findall(r"(?<!\.)\b([\w-]+\.(?:map|http|lua))\b(?!\.)", re.sub("#.*", "", files["haproxy.cfg"])))
        assert named == set(files) - {"haproxy.cfg"}


def test_what_haproxy_answers_itself_is_complete_http_with_an_error_of_matrix() -> None:
    answers = {name: text for name, text in configuration(SPEC).items() if name.endswith(".http")}
    assert len(answers) == 10
    for name, text in answers.items():
        head, _, body = text.partition("\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        assert int(headers["Content-Length"]) == len(body.encode())
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert {"errcode", "error"} <= set(json.loads(body))
        assert head.startswith("HTTP/1.1 429 " if name == "503.http" else f"HTTP/1.1 {name[:3]} ")


def test_without_federation_no_federation_pool_remains() -> None:
    files = configuration(attrs.evolve(SPEC, federation=False))
    assert not any("federation" in name for name in backends(files["haproxy.cfg"]))
    assert "/_matrix/federation" not in files["routes.map"]


def test_a_chain_of_fallbacks_is_followed_to_its_end_even_round_a_circle() -> None:
    def steps(*types: WorkerType) -> int:
        return configuration(with_types(*types))["haproxy.cfg"].count("map_str(fallbacks.map) if ")

    assert steps(worker("a", "^/a")) == 0
    assert steps(worker("a", "^/a", fallback="main")) == 1
    assert steps(worker("a", "^/a", fallback="b"), worker("b", "^/b", fallback="a")) == 2
    assert steps(worker("a", "^/a", fallback="b"), worker("b", "^/b", fallback="c"), worker("c", "^/c", fallback="b")) == 3


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ((worker("a", "^/a", fallback="idle"), worker("idle")), "idle serves no requests"),
        ((worker("a", "^/a", fallback="nobody"),), "nobody serves no requests"),
        ((worker("a", "/a"),), r"does not start with \^/"),
        ((worker("a", "^/a b"),), "has a space"),
    ],
)
def test_what_haproxy_could_not_do_is_refused_with_the_reason(types: tuple[WorkerType, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        configuration(with_types(*types))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"main": "main-0.synapse"}, "main"),
        ({"main": "main-0.synapse.; bind :1"}, "main"),
        ({"trusted_proxies": ("10.0.0.0/33",)}, "10.0.0.0/33"),
        ({"synapse_port": 0}, "synapse_port"),
    ],
)
def test_a_spec_that_makes_no_sense_cannot_be_made(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attrs.evolve(SPEC, **changes)


def test_every_worker_type_that_is_balanced_by_room_has_its_rooms_recognised() -> None:
    subjects = [line.rsplit(" ", 1)[0] for line in configuration(SPEC)["subjects.map"].splitlines()]
    for worker in WORKER_TYPES:
        if worker.balance is not Balance.ROOM:
            continue
        for route in worker.routes:
            for path in examples(route.pattern, "!room:example.com"):
                if "!room" in path and "/rooms/" in path:
                    assert any((found := re.search(subject, path)) and found[1] == "!room:example.com" for subject in subjects), path


def test_application_services_have_a_door_without_a_limit_of_logins_and_without_administration_where_there_are_any() -> None:
    assert "frontend bridges" not in configuration(SPEC)["haproxy.cfg"]
    config = configuration(attrs.evolve(SPEC, bridges=True))["haproxy.cfg"]
    door = config.split("frontend bridges")[1].split("frontend operations")[0]
    assert "bind 0.0.0.0:8010" in door
    assert "deny_status 404 unless { path_beg /_matrix/client/ /_matrix/media/ }" in door
    assert "429" not in door


def test_the_limit_of_logins_is_the_sites() -> None:
    config = configuration(attrs.evolve(SPEC, logins_per_minute=5000))["haproxy.cfg"]
    assert "deny_status 429 if login METH_POST { sc0_http_req_rate gt 5000 }" in config


def test_synapse_is_asked_whose_tokens_are_where_they_do_not_say_it_and_where_it_decides_who_serves() -> None:
    silent, asking = configuration(SPEC), configuration(ASKING)
    assert "whose" not in silent["haproxy.cfg"]
    by_user = {worker.name for worker in WORKER_TYPES if worker.balance is Balance.USER}
    (found,) = re.findall(r"acl whose var\(txn\.pool\) -m str (.*)", asking["haproxy.cfg"])
    assert set(found.split()) == by_user
    # What is logged of a request has its own format: nothing else writes such a line.
    assert re.findall(r"^ +log .*", asking["haproxy.cfg"], re.MULTILINE) == [
        "    log stdout format raw local0 notice",
        "    log stdout format raw local0 info",
    ]


def test_the_door_for_questions_is_open_to_haproxy_alone_and_what_it_keeps_is_bounded_and_has_room() -> None:
    door = configuration(ASKING)["haproxy.cfg"].split("frontend whose")[1].split("\nfrontend ")[0]
    assert re.findall(r"bind (\S+)", door) == ["127.0.0.1:8011"]
    (size,) = re.findall(r"stick-table type binary len 32 size (\d+)k expire 10m store gpt0$", door, re.MULTILINE)
    # 224 bytes an entry: with 102400 of them, a process of HAProxy 3.2 grew by 22 MiB.
    assert int(size) * 1024 * 224 <= TOKENS_MEMORY.count


def test_a_client_waits_as_long_for_the_answer_as_every_process_has_for_it() -> None:
    config = configuration(ASKING)["haproxy.cfg"]
    limited = [
        name for name, lines in backends(config).items() if "    http-request set-timeout server 500ms if { fe_name whose }" in lines
    ]
    assert limited == list(backends(config))
    assert "lua-load-per-thread whose.lua 8011 /_matrix/client/v3/account/whoami 500" in config
