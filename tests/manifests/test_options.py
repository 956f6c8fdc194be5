"""Options that open ways, about login, bridges, calls, the homeserver and its doors: all of them, none, and each pair of values in one site."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import covertable
import pytest
from cdk8s import App

from app.contradictions import contradictions
from app.platform import assemble
from app.settings import parse_site
from kit.options import Choice, Flag, Section, options_below
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.rules import consistency, quotas, references, schemas, security
from tests.manifests.rules.objects import Objects, Rule
from tests.manifests.rules.scrapes import scrape_problems

BASE = (
    "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
    "cluster: {node_cidrs: [10.0.0.0/24], service_cidrs: [10.43.0.0/16]}\n"
)
VALUES: Mapping[str, tuple[str, ...]] = {
    "features.authentication_service": ("false", "true"),
    "features.federation": ("false", "true"),
    "features.antivirus": ("false", "true"),
    "features.calls": ("false", "true"),
    "calls": ("", "{load_balancer: {livekit: {livekit-0: 192.0.2.5}}}", "{load_balancer: {service: node-port}, turn_tls: true}"),
    "postgresql": ("", "{backend: external, external: {host: db.example.com, cidrs: [192.0.2.0/24], ca_secret: corporate-ca}}"),
    "redis": (
        "",
        "{backend: external, external: {servers: ['redis.example.com:6380'], cidrs: [192.0.2.0/24], ca_secret: corporate-ca}}",
    ),
    "ingress.admin_source_ranges": ("", "[192.0.2.0/24]"),
    "login.passwords": ("", "false"),
    "login.providers": (
        "",
        "{corporate: {issuer: 'https://id.example.com', client_id: matrix}}",
        "{corporate: {issuer: 'https://id.example.com:8443', client_id: matrix, cidrs: [192.0.2.0/24], existing_accounts: true}}",
    ),
    "login.ldap": (
        "",
        "{servers: ['ldaps://ldap.example.com'], cidrs: [192.0.2.0/24], base: 'dc=example', bind_dn: 'cn=matrix', filter: (a=b)}",
    ),
    "login.ca_secret": ("", "corporate-ca"),
    "application_services": (
        "",
        "{telegram: {url: 'http://telegram.bridges.svc:29317', bot: bot, pods: {namespace: bridges, labels: {app: telegram}, port: 8080}}}",
        "{far: {url: 'https://far.example.com', given: true}}",
    ),
    "homeserver.encryption": ("", "all"),
    "homeserver.password_policy": ("", "{minimum_length: 12}"),
    "homeserver.modules": ("", "{invites: {path: a.Module, secret: true}}", "{invites: {path: a.Module, processes: [media-repository]}}"),
    "homeserver.extra": ("", "{max_avatar_size: 10M, experimental_features: {msc3814_enabled: true}}"),
    "homeserver.extra_secret": ("", "true"),
    "homeserver.image": ("", "registry.example.com/own:1"),
}
Row = tuple[tuple[str, str], ...]
RULES: list[Rule] = [
    consistency.duplicates,
    consistency.service_problems,
    quotas.quota_problems,
    references.config_map_problems,
    references.mount_problems,
    references.path_problems,
    schemas.built_in_problems,
    security.hardening_problems,
]


class Never(NamedTuple):
    """What no site can mean: the options that it is about, and which of their values go together."""

    options: tuple[str, ...]
    together: Callable[..., bool]


IMPOSSIBLE = (
    Never(("features.calls", "calls"), lambda feature, calls: feature == "false" and calls),
    Never(("features.authentication_service", "login.ldap"), lambda service, ldap: service == "true" and ldap),
    Never(("features.authentication_service", "homeserver.password_policy"), lambda service, policy: service == "true" and policy),
    # Somebody must be able to log in.
    Never(("login.passwords", "login.providers", "login.ldap"), lambda *how: how == ("false", "", "")),
)


def pairwise() -> list[Row]:
    """A few sites in which each pair of values of two options is, but for those that cannot be meant together."""
    names = list(VALUES)

    def sound(never: Never) -> Mapping[str, object]:
        numbers = [names.index(option) for option in never.options]
        return {"operator": "fn", "requires": numbers, "evaluate": lambda row: not never.together(*(row[number] for number in numbers))}

    rows = covertable.make(list(VALUES.values()), constraints=[sound(never) for never in IMPOSSIBLE])
    return [tuple(zip(names, values, strict=True)) for values in rows]


def text(row: Row) -> str:
    """As it is written in site.yaml."""
    sections: dict[str, dict[str, str]] = {}
    for name, value in row:
        if value:
            section, _, option = name.partition(".")
            sections.setdefault(section, {})[option] = value
    lines = []
    for section, options in sections.items():
        if "" in options:
            lines.append(f"{section}: {options['']}")
        else:
            lines += [f"{section}:", *(f"  {option}: {value}" for option, value in options.items())]
    return BASE + "\n".join(lines) + "\n"


ROWS = pairwise()
ALL: Row = tuple(
    (name, values[-1]) for name, values in VALUES.items() if name not in ("features.authentication_service", "login.passwords")
)


def sites() -> Iterator[tuple[str, Row]]:
    yield "nothing", ()
    yield "everything", ALL
    yield from ((f"pairs {number}", row) for number, row in enumerate(ROWS))


def test_each_pair_of_values_that_can_be_meant_is_in_one_of_the_sites() -> None:
    seen = {pair for row in ROWS for pair in combinations(row, 2)}
    every = {((one, a), (other, b)) for (one, values), (other, others) in combinations(VALUES.items(), 2) for a in values for b in others}
    assert {tuple(option for option, _ in pair) for pair in every - seen} == {
        never.options for never in IMPOSSIBLE if len(never.options) == 2
    }


@pytest.mark.parametrize("row", [row for _, row in sites()], ids=[name for name, _ in sites()])
def test_every_site_of_them_holds_together(row: Row) -> None:
    site = parse_site(text(row))
    assert list(contradictions(site)) == []
    installation = assemble(App(), site, profiles()[0])
    objects: Objects = [dict(o) for o in expected(installation.rendering()).values()]
    assert {rule.__name__: found for rule in RULES if (found := rule(objects))} == {}
    assert scrape_problems(objects, installation.declared.scrapes, watched=site.features.monitoring) == []


def test_every_choice_of_these_sections_is_among_the_values_or_tried_alone() -> None:
    """A new option with a few values is added to the table, or to those that change one line of a file and nothing else."""
    alone = {"homeserver.url_previews", "homeserver.presence", "homeserver.search_all_users", "homeserver.push_message_content"}
    few = {key for key, option in options_below(Section(type(parse_site(BASE)))) if isinstance(option.kind, Flag | Choice)}
    nested = {key for key in few if key.startswith(("login.ldap.", "homeserver.password_policy."))}
    assert {key for key in few if key.startswith(("login.", "homeserver."))} - nested - alone == {
        key for key in VALUES if key in few and not key.startswith("features.")
    }
