"""Documents made by hypothesis that are right as site.yaml, or wrong in a few places."""

import json
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from io import StringIO
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

from app.site import Site
from kit.options import Choice, Entries, Flag, Free, Items, Kind, Number, Section, Text, When, options_below

Document = dict[str, Any]
SITE = Section(Site)
OPTIONS = dict(options_below(SITE))
BAD_TEXTS = [
    "true",
    "yes",
    "",
    " ",
    "x y",
    "Upper",
    "a_b",
    "-",
    "a\nb",
    "a" * 300,
    "5m",
    "100",
    "1e3",
    "1Gi",
    "a.b",
    "https://a.example.com",
]
BAD_TEXTS += ["minio/minio:latest", "10.0.0.1/8", "0 2 * * *"]
BAD_VALUES: list[Any] = [*BAD_TEXTS, None, True, 0, 8448, 1.5, [], ["a"], [None], [["a"]], {}, {"a": "b"}, {"a": None}]
GOOD_TEXTS = [
    "a",
    "a-b",
    "a.b",
    "a1.b-2.c3",
    "example.com",
    "xn--bcher-kva.example",
    "a" * 63,
    f"{'b' * 63}.example.com",
    "example.com:8448",
]
GOOD_TEXTS += [
    "2026-01-31T12:00:00Z",
    "10.0.0.0/8",
    "192.0.2.7/32",
    "0.0.0.0/0",
    "fd00::/8",
    "::/0",
    "r.example.com:5000/a/b_c/d--e",
    "r.example.com/a:v1",
    "a:1",
    "a/b:v1.2-3_4",
]
GOOD_TEXTS += [
    f"r.example.com/a@sha256:{'0' * 64}",
    "https://s3.example.com",
    "http://s3.example.com:9000",
    "https://ca.example.com/a?b=c",
    "ops@example.com",
]
GOOD_TEXTS += [
    "@admin:example.com",
    "ed25519:a_AbCd",
    "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw until 2026-01-31T12:00:00Z",
    "ABCDE12345",
    "example-app",
    "1Ki",
    "512Mi",
    "1024Mi",
    "100Gi",
    "2Ti",
    "50000-54999",
    "10.0.0.5",
    "30d",
    "2w",
    "6m",
    "10y",
    "0 0 2 * * *",
    "*/30 0-59/2 1,13 ? JAN-MAR MON-FRI",
    "A.b_c",
    "x.y/Z-1",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "icap://av.example.com:1344/scan",
    "DE",
    "Anna Adler (investigator, approver)",
    "ldaps://ldap.example.com",
    "#hall:example.com",
    "oci://registry.example.com/charts",
    "1000-ccu",
    "03:30",
    "forever",
]
WORDS = st.from_regex(r"[a-z][a-z0-9]{2,7}", fullmatch=True)


def readable(kind: Text, text: str) -> bool:
    """Whether a text is a value of its kind."""
    try:
        return kind.accepts(text) and kind.read(text) is not None
    except ValueError:
        return False


def values(kind: Kind) -> st.SearchStrategy[Any]:
    """Right values of a kind, as they are in YAML."""
    match kind:
        case Text() if readable(kind, "any\n text"):
            return st.text()
        case Text():
            known = st.sampled_from([text for text in GOOD_TEXTS if readable(kind, text)])
            return known | WORDS.filter(lambda text: readable(kind, text)) if readable(kind, "word") else known
        case Number():
            least, most = kind.least, min(kind.most, 10**9)
            return st.integers(least, most) | (
                st.floats(least, most).map(lambda number: round(number, 3)) if kind.fraction else st.nothing()
            )
        case Free():
            return st.dictionaries(WORDS, st.booleans() | st.integers(0, 99) | WORDS, max_size=3)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(kind.words)
        case Items():
            return st.lists(values(kind.of), max_size=3)
        case Entries():
            return st.dictionaries(values(kind.key), values(kind.value), max_size=3)
        case Section():
            must = {option.name: values(option.kind) for option in kind.options if option.required}
            return st.fixed_dictionaries(must, optional={o.name: values(o.kind) for o in kind.options if not o.required})


ANY_DOCUMENT = values(SITE)
VALUES = {key: values(option.kind) for key, option in OPTIONS.items()}


CALLS = "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/8]}\n"
SERVICE = "features: {authentication_service: true}\n"
CORPORATE = "issuer: 'https://id.example.com', client_id: matrix"
DIRECTORY = "cidrs: [192.0.2.7/32], base: dc=example"
BRIDGE = "url: 'http://a.b'"
CONTRADICTIONS = {
    "they must differ": "namespaces: {li: matrix}",
    "the platform owns its namespaces": "namespaces: {main: kube-system}",
    "is every address there is": "cluster: {pod_cidrs: [0.0.0.0/0]}",
    "which no cluster can have": "cluster: {pod_cidrs: [10.0.0.0/8], service_cidrs: [10.43.0.0/16]}",
    "is no address of a node": CALLS + "calls: {public_addresses: {192.168.0.1: 192.0.2.1}}",
    "has no effect with calls.load_balancer": CALLS + "calls: {media_ports: 40000-41000, load_balancer: {}}",
    "is no pod of LiveKit": CALLS + "calls: {load_balancer: {livekit: {a: 192.0.2.1}}}",
    "is of load balancers that the cluster makes": CALLS + "calls: {load_balancer: {service: node-port, balancer_class: a}}",
    "is no size of such a volume": "storage_sizes: {database: 512Mi}",
    "KEDA asks your own Prometheus": "features: {monitoring: true}\nmonitoring: {mode: operator, keda: {namespace: keda}}",
    "make erasure sets of": "storage_sizes: {pools: {main: [{servers: 5, drives: 1, drive: 5Gi}]}}",
    "there is no app to push to": "features: {push: true}\ncluster: {service_cidrs: [10.43.0.0/16]}",
    "more than proxies and clients carry": "media: {max_upload_size: 11Gi}",
    "is more than clamd scans": "features: {antivirus: true}\nmedia: {max_upload_size: 512Mi}",
    "is not after backups.restore.generation": "backups: {restore: {generation: 1}}",
    "give a day that every year has": "backups: {schedule: 0 0 2 31 11 *}",
    "whose fate backups are not to share": (
        "object_storage: {backend: external, external: {endpoint: 'https://a.b'}}\n"
        "backups: {object_storage: {backend: external, external: {endpoint: 'https://a.b'}}}"
    ),
    "and features.li follows the platform's own PostgreSQL": (
        "features: {li: true}\nli: {country_code: DE, owner: o, officers: {a@b.example: A (investigator), c@b.example: C (approver)}}\n"
        "postgresql: {backend: external, external: {host: a.b, ca_secret: a, cidrs: [192.0.2.0/24]}}"
    ),
    "are several, of which none but Sentinels": (
        "redis: {backend: external, external: {servers: ['a.b:1', 'a.c:1'], ca_secret: a, cidrs: [192.0.2.0/24]}}"
    ),
    "have no majority that survives a loss": (
        "redis: {backend: external, external: {servers: ['a.b:1'], sentinels: ['a.b:2'], ca_secret: a, cidrs: [192.0.2.0/24]}}"
    ),
    "is an address, and a certificate has names": (
        "redis: {backend: external, external: {servers: ['192.0.2.1:1'], ca_secret: a, cidrs: [192.0.2.0/24]}}"
    ),
    "leaves nothing to log in with": "login: {passwords: false}",
    "Synapse does not start with it where": f"{SERVICE}homeserver: {{extra: {{saml2_config: {{idp_name: a}}}}}}",
    "speaks OpenID Connect alone": f"{SERVICE}login: {{ldap: {{servers: ['ldaps://a.b'], {DIRECTORY}}}}}",
    "does not look at claims": f"{SERVICE}login: {{providers: {{corporate: {{{CORPORATE}, required_claims: {{groups: [a]}}}}}}}}",
    "has no value that would do": f"login: {{providers: {{corporate: {{{CORPORATE}, required_claims: {{groups: []}}}}}}}}",
    "lacks openid": f"login: {{providers: {{corporate: {{{CORPORATE}, scopes: [email]}}}}}}",
    "would carry passwords in the open": f"login: {{ldap: {{servers: ['ldap://a.b'], {DIRECTORY}}}}}",
    "is encrypted from its first byte": f"login: {{ldap: {{servers: ['ldaps://a.b'], start_tls: true, {DIRECTORY}}}}}",
    "is empty; list them": f"login: {{ldap: {{servers: [], {DIRECTORY}}}}}",
    "needs parentheses around it": f"login: {{ldap: {{servers: ['ldaps://a.b'], filter: a=b, bind_dn: cn=m, {DIRECTORY}}}}}",
    "needs active_directory: true": f"login: {{ldap: {{servers: ['ldaps://a.b'], default_domain: a.b, {DIRECTORY}}}}}",
    "has the passwords; write": f"{SERVICE}homeserver: {{password_policy: {{minimum_length: 9}}}}",
    "is another server's": "homeserver: {auto_join_rooms: ['#hall:example.org']}",
    "is no process of Synapse": "homeserver: {modules: {a: {path: a.B, processes: [clients]}}}",
    "its registration file says": f"application_services: {{a: {{{BRIDGE}, given: true, bot: b}}}}",
    "has no bot": f"application_services: {{a: {{{BRIDGE}}}}}",
    "are addresses of one outside": (
        f"application_services: {{a: {{{BRIDGE}, bot: b, cidrs: [192.0.2.7/32], pods: {{namespace: b, labels: {{a: b}}}}}}}}"
    ),
    "is the platform's own, which is closed": f"application_services: {{a: {{{BRIDGE}, bot: b, pods: {{namespace: matrix, labels: {{a: b}}}}}}}}",
    "are none, which would be every pod": f"application_services: {{a: {{{BRIDGE}, bot: b, pods: {{namespace: b, labels: {{}}}}}}}}",
    "is a Service of this cluster": "object_storage: {backend: external, external: {endpoint: 'http://s3.storage.svc'}}",
    "no other server can be called then": "features: {federation: true}\nfederation: {internet: false}",
    "has addresses of the cluster itself": "cluster: {pod_cidrs: [10.42.0.0/16]}\n"
    "push: {gateways: networks, gateway_networks: [10.0.0.0/8]}",
    "cannot vouch for others to itself": "features: {federation: true}\nfederation: {key_servers: [example.com]}",
    "is none of federation.allowed_domains": "features: {federation: true}\n"
    "federation: {key_servers: [a.example.org], allowed_domains: [b.example.org]}",
}
"""How the report on a document goes whose options are each right and that cannot be meant, with an example of each."""


def contradicts_itself(problems: Iterable[str]) -> bool:
    """Whether a report has one of these."""
    return any(words in problem for problem in problems for words in CONTRADICTIONS)


_MOSTLY_CONTRADICTIONS = (
    "login.ldap",
    "login.providers",
    "login.passwords",
    "application_services",
    "homeserver.modules",
    "homeserver.auto_join_rooms",
)
"""Options whose values by chance seldom go together: they are seldom given."""


@st.composite
def right_documents(draw: st.DrawFn) -> Document:
    """Documents that keep the rules of one option about another, and may have contradictions."""
    document: Document = draw(ANY_DOCUMENT)
    for key in _MOSTLY_CONTRADICTIONS:
        if draw(st.integers(0, 9)):
            cut(document, key)
    for key, option in OPTIONS.items():
        if (rule := option.needed_with) and at(document, key) is None and at(document, rule.key) in rule.values:
            cut(document, rule.key)
    for key, option in OPTIONS.items():
        if option.only_with and not chosen(document, option.only_with):
            cut(document, key)
    return document


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Documents changed in up to three places: mostly mistakes, or values that do not go with others."""
    document = draw(right_documents())
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from([*OPTIONS, "unknown", "hosts.matrx", "tls.secret_names.unknown", "endpoint"]))
        if draw(st.integers(0, 4)) == 0:
            cut(document, key)
        else:
            put(document, key, deepcopy(draw(st.sampled_from(BAD_VALUES) | VALUES.get(key, st.nothing()))))
    return document


def at(document: Document, key: str) -> Any:
    """The value of a dotted key, or None."""
    value: Any = document
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def put(document: Document, key: str, value: object) -> None:
    """Set the value of a dotted key, where its section is there or can be made."""
    *sections, name = key.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            return
    document[name] = value


def cut(document: Document, key: str) -> None:
    """Remove a dotted key."""
    section, _, name = key.rpartition(".")
    parent = at(document, section) if section else document
    if isinstance(parent, dict):
        parent.pop(name, None)


def chosen(document: Document, rule: When) -> bool:
    """Whether a document has, or has by default, the value that an option needs in order to have an effect."""
    value = at(document, rule.key)
    return bool((OPTIONS[rule.key].default if value is None else value) in rule.values)


def yaml_flow(document: object) -> str:
    """A document as JSON in many lines, which is YAML, but for the escapes of characters beyond U+FFFF."""
    pair = re.compile(r"\\u(d[89ab]..)\\u(d[c-f]..)")
    return pair.sub(
        lambda found: f"\\U{ord(json.loads(json.dumps(found[0]).replace(chr(92) * 2, chr(92)))):08x}", json.dumps(document, indent=1)
    )


def yaml_block(document: object) -> str:
    """A document as a person would write it."""
    out = StringIO()
    YAML().dump(document, out)
    return out.getvalue()


def document_of(site: Site) -> Document:
    """What a site says, as a document: all options that have an effect."""
    document: Document = {}
    idle: list[str] = []
    for key, option in OPTIONS.items():
        value, rule = attribute(site, key), option.only_with
        if (rule and attribute(site, rule.key) not in rule.values) or key.startswith(tuple(idle)):
            idle.append(f"{key}.")
        elif value is not None and not isinstance(option.kind, Section):
            put(document, key, yaml_value(option.kind, value))
    return document


def attribute(site: Site, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = site
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def yaml_value(kind: Kind, value: Any) -> Any:
    """A value of a kind as YAML has it."""
    match kind:
        case Flag() | Number():
            return value
        case Free():
            return value.data
        case Section():
            return {
                option.name: yaml_value(option.kind, getattr(value, option.name))
                for option in kind.options
                if getattr(value, option.name) is not None
            }
        case Items():
            return [yaml_value(kind.of, item) for item in value]
        case Entries():
            return {name: yaml_value(kind.value, item) for name, item in value}
        case _:
            return str(value)


def tokens_of_problem(document: Document, key: str, message: str) -> Iterator[str]:
    """How the text of `yaml_flow` may go on at the place of a problem."""
    parts = [json.loads(part) if part.startswith('"') else part for part in re.findall(r'"(?:[^"\\]|\\.)*"|\w+', key)]
    value: Any = document
    above = None
    for part in parts:
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
            above = part
        except KeyError:
            # What contradicts an option that is left out is reported at its section.
            yield yaml_flow(value).splitlines()[0]
            value = None
        except TypeError:
            value = None
    if message.startswith("is missing"):
        yield f"{json.dumps(above)}:" if above else "{"
    elif message.startswith("has no effect"):
        yield f"{json.dumps(above)}:"
    elif message.startswith("unknown key") or " is not an annotation name" in message:
        yield from (f"{json.dumps(name)}:" for name in value)
    else:
        yield yaml_flow(value).splitlines()[0]
