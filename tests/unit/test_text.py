"""What is written as text is read as that text, by every reader of YAML on its way."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kit.text import yaml_documents, yaml_text

letters = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)
values = st.recursive(st.one_of(letters, st.integers(), st.booleans(), st.none()), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
documents = st.dictionaries(st.text(min_size=1, max_size=5, alphabet="abcynYN01e.~"), values)


@given(documents)
def test_what_is_written_is_read_back_by_yaml_1_1_and_1_2(document: dict[str, Any]) -> None:
    text = yaml_text(document)
    assert yaml.safe_load(text) == document
    assert YAML(typ="safe").load(text) == document


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "on", "1e3", "1.", ".5", "0o7", "0x1f", "12:30", "1_000", "~", "null", "", "=", "2026-11-24", "-"]
)
def test_a_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert yaml_text({"value": text}).removeprefix("value: ").startswith("'")


def test_several_lines_are_a_literal_block() -> None:
    assert yaml_text({"a": "x\ny\n"}) == "a: |\n  x\n  y\n"


def test_documents_are_separated() -> None:
    assert list(yaml.safe_load_all(yaml_documents([{"a": 1}, {"b": 2}]))) == [{"a": 1}, {"b": 2}]
