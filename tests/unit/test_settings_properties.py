"""Properties of the reader of site.yaml, over documents, texts and bytes that hypothesis makes."""

import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.settings import SettingsError, parse_site, read_site
from kit.options import Section, Text
from kit.quantities import parse_bytes
from tests.site_documents import (
    OPTIONS,
    Document,
    at,
    attribute,
    contradicts_itself,
    document_of,
    documents,
    put,
    right_documents,
    tokens_of_problem,
    yaml_block,
    yaml_flow,
    yaml_value,
)
from tests.site_mistakes import BASE

PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
SIGNS = [
    *"abc012 \n\t:-?,[]{}#&*!|>'\"%@`<=~.\\/",
    "\n  ",
    ": ",
    "- ",
    "<<: ",
    "&a ",
    "*a",
    "!!int ",
    "---\n",
    "hosts:",
    "1e3",
    "\x85",
    "é",
    "😀",
]
SECRETS = st.one_of(
    st.from_regex(r"[A-Za-z][0-9][A-Za-z0-9]{22,40}", fullmatch=True),
    st.from_regex(r"-----BEGIN [A-Z]{3,9} KEY-----\n[A-Za-z0-9+/]{64}", fullmatch=True),
    st.from_regex(r"https://[a-z]{3,9}:[!-.0-9A-Za-z]{8}@s3\.example\.com", fullmatch=True),
    st.uuids().map(str),
)


def reported(text: str) -> list[str]:
    """What the reader finds wrong, one line each."""
    try:
        parse_site(text)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


@PROPERTY
@given(right_documents())
def test_a_site_written_to_yaml_reads_back_equal(document: Document) -> None:
    text = yaml_block(document)
    found = reported(text)
    assume(not contradicts_itself(found))
    assert found == []
    site = parse_site(text)
    assert parse_site(yaml_block(document_of(site))) == site


@PROPERTY
@given(right_documents())
def test_a_site_holds_every_value_that_its_file_gives(document: Document) -> None:
    assume(not reported(yaml_flow(document)))
    site = parse_site(yaml_flow(document))
    for key, option in OPTIONS.items():
        value, kind = at(document, key), option.kind
        if isinstance(kind, Text) and value is not None:
            assert attribute(site, key) == kind.read(value)
        elif not isinstance(kind, Section) and value is not None:
            assert says(yaml_value(kind, attribute(site, key)), value)


def says(whole: object, part: object) -> bool:
    """Whether a value, written with all its defaults, says what a part of it says. What is null counts as left out."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(value is None or (key in whole and says(whole[key], value)) for key, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return len(whole) == len(part) and all(map(says, whole, part))
    amount = re.compile("[0-9]+(Ki|Mi|Gi|Ti)")
    if isinstance(whole, str) and isinstance(part, str) and amount.fullmatch(whole) and amount.fullmatch(part):
        return parse_bytes(whole) == parse_bytes(part)
    return whole == part


@PROPERTY
@given(documents())
def test_every_mistake_is_reported_at_the_token_that_makes_it(document: Document) -> None:
    text = yaml_flow(document)
    try:
        parse_site(text)
    except SettingsError as error:
        for problem in error.problems:
            if "not shown" not in problem.key:
                rest = text.splitlines()[problem.line - 1][problem.column - 1 :]
                assert rest.startswith(tuple(tokens_of_problem(document, problem.key, problem.message))), problem


@settings(PROPERTY, max_examples=300)
@given(st.one_of(st.text(), st.lists(st.sampled_from(SIGNS), max_size=40).map("".join)), st.booleans())
def test_no_text_makes_the_reader_fail(text: str, after_a_site: bool) -> None:
    for problem in reported(BASE + text if after_a_site else text):
        assert "\n" not in problem


@PROPERTY
@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "site.yaml"
    file.write_bytes(data)
    with pytest.raises(SettingsError, match="nothing was written"):
        read_site(file)


@settings(PROPERTY, max_examples=150)
@given(SECRETS, st.sampled_from([*OPTIONS, "unknown", "hosts.unknown"]), st.booleans())
def test_what_looks_like_a_secret_is_never_repeated(secret: str, key: str, in_a_list: bool) -> None:
    document: Document = {"server_name": "example.com", "images": {"registry": "registry.example.com"}}
    put(document, key, [secret] if in_a_list else secret)
    assert not any(secret in problem or json.dumps(secret)[1:-1] in problem for problem in reported(yaml_flow(document)))


@pytest.mark.parametrize("key", ["images.pull_secrets", "object_storage.external.ca_secret", "ingress.annotations"])
def test_the_value_of_a_key_that_sounds_secret_is_never_repeated(key: str) -> None:
    document: Document = {"server_name": "example.com", "images": {"registry": "registry.example.com"}}
    put(document, key, {"example.com/auth-token": 1234567} if key.endswith("annotations") else "hunter two")
    problems = reported(yaml_flow(document))
    assert any("not shown" in problem for problem in problems)
    assert not any("hunter" in problem or "1234567" in problem for problem in problems)


def test_defaults_read_back_as_themselves() -> None:
    document: Document = {"server_name": "example.com", "images": {"registry": "registry.example.com"}}
    site = parse_site(BASE)
    idle: list[str] = []
    for key, option in OPTIONS.items():
        has_effect = not option.only_with or attribute(site, option.only_with.key) == option.only_with.value
        if not has_effect:
            idle.append(f"{key}.")
        if option.default and has_effect and not key.startswith(tuple(idle)) and attribute(site, key) is not None:
            put(document, key, yaml_value(option.kind, option.default))
    assert parse_site(yaml_flow(document).replace("<server_name>", "example.com")) == site
