"""The text of a new site.yaml: what was answered or taken over, each section with what it is for, and what was left behind."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML

from app.settings import SITE, problems_of_form

Tree = dict[str, Any]
"""Options as site.yaml has them: sections are mappings."""

_HEAD = """\
# yaml-language-server: $schema=site.schema.json
#
# The choices of one installation. What is left out has a safe default; docs/site-reference.md lists every option.
# No password or key belongs in this file.
"""
_SMALLEST: Mapping[str, Any] = {"server_name": "example.com", "images": {"registry": "registry.example.com/matrix"}}
_WIDEST = 140


def put(tree: Tree, key: str, value: object) -> None:
    """Set the option of a dotted key, with the sections that it is in."""
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def got(tree: Mapping[str, Any], key: str) -> Any:
    """The option of a dotted key, or None."""
    found: Any = tree
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def mistake(key: str, value: object) -> str | None:
    """What is wrong with one option, in the words of the reader of site.yaml; None if nothing is."""
    tree: Tree = {name: dict(of) if isinstance(of, Mapping) else of for name, of in _SMALLEST.items()}
    put(tree, key, value)
    return next((problem.message for problem in problems_of_form(site_text(tree)) if _is_about(problem.key, key)), None)


def site_text(tree: Mapping[str, Any], left: Iterable[str] = ()) -> str:
    """site.yaml, with the options in the order of the reference. `left`: what it could not take over, one line each."""
    given = [option for option in SITE.options if option.name in tree]
    parts = [_HEAD, *(f"{_comment(option.description)}{_yaml({option.name: tree[option.name]})}" for option in given)]
    if lines := list(left):
        parts.append("# What could not be taken over, and what to do:\n" + "".join(f"# {_one_line(line)}\n" for line in lines))
    return "\n".join(parts)


def _is_about(found: str, key: str) -> bool:
    return found == key or found.startswith((f"{key}.", f"{key}["))


def _yaml(section: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 10 * _WIDEST
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(_plain(section), text)
    return text.getvalue()


def _plain(value: object) -> object:
    """A value without what a reader of YAML leaves in it, so that nothing is written by reference."""
    match value:
        case Mapping():
            return {str(name): _plain(of) for name, of in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _comment(text: str) -> str:
    import textwrap

    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDEST - 2, break_long_words=False, break_on_hyphens=False))


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
