"""What is derived from the declarations of the options for people and their editors: site.schema.json and docs/site-reference.md."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.site import Site
from kit.options import Choice, Entries, Flag, Free, Items, Kind, Number, Option, Section, Text, When, options_below, plain, written

Schema = dict[str, Any]
SITE: Final = Section(Site)


def site_schema() -> Schema:
    """The JSON Schema (draft 7, the one that editors know best) of site.yaml.

    It accepts what the reader accepts. It cannot tell what only `Text.read` sees, nor whether values differ as they must.
    """
    options = dict(options_below(SITE))
    rules = [rule for key, option in options.items() for rule in _rules(key, option, options)]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "site.yaml",
        **_section(SITE),
        "description": (Site.__doc__ or "").strip(),
        "allOf": rules,
    }


def site_schema_text() -> str:
    """The content of site.schema.json."""
    return json.dumps(site_schema(), indent=2, ensure_ascii=False) + "\n"


def _of(kind: Kind) -> Schema:
    match kind:
        case Text():
            length = {} if kind.max_length is None else {"maxLength": kind.max_length}
            return {"type": "string", "pattern": f"^(?:{kind.pattern})$", **length, "examples": [kind.example]}
        case Number():
            return {"type": "number" if kind.fraction else "integer", "minimum": kind.least, "maximum": kind.most}
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(kind.words)}
        case Items():
            return {"type": "array", "items": _of(kind.of)}
        case Entries():
            return {"type": "object", "propertyNames": _of(kind.key), "additionalProperties": _of(kind.value)}
        case Free():
            return {"type": "object"}
        case Section():
            return _section(kind)


def _section(section: Section) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False}
    if needed := [option.name for option in section.options if option.required]:
        schema["required"] = needed
    return {**schema, "properties": {option.name: _option(option) for option in section.options}}


def _option(option: Option) -> Schema:
    schema = {"description": f"{option.description} {option.reserved}".rstrip(), **_of(option.kind)}
    if option.default is not None and "<" not in str(option.default):
        schema["default"] = {} if isinstance(option.kind, Entries | Free) else plain(option.default)
    if not option.required:  # null counts as left out
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _rules(key: str, option: Option, options: Mapping[str, Option]) -> list[Schema]:
    """What an option has to do with the values of others."""
    given = _at(key, {"not": {"type": "null"}})
    only = [{"if": given, "then": _chosen(option.only_with, options)}] if option.only_with else []
    needed = [{"if": _chosen(option.needed_with, options), "then": given}] if option.needed_with else []
    return only + needed


def _chosen(when: When, options: Mapping[str, Option]) -> Schema:
    values = [plain(value) for value in when.values]
    chosen = _at(when.key, {"const": values[0]} if len(values) == 1 else {"enum": values})
    if options[when.key].default in when.values:
        return {"anyOf": [chosen, {"not": _at(when.key, {"not": {"type": "null"}})}]}
    return chosen


def _at(key: str, schema: Schema) -> Schema:
    """That the value of a dotted key is there and fits a schema."""
    for name in reversed(key.split(".")):
        schema = {"type": "object", "required": [name], "properties": {name: schema}}
    return schema


def site_reference() -> str:
    """The content of docs/site-reference.md: every option of site.yaml."""
    sections = [("", SITE, ""), *_sections(SITE, "")]
    lines = [
        "# Reference of site.yaml",
        "",
        "<!-- Made by `make docs` from the options in app/site.py and beside the components; a test keeps it current. -->",
        "",
        "Only `server_name` and `images.registry` must be given. An option that is left out, or null, has its default.",
        "Editors that know JSON Schema check and complete site.yaml by `site.schema.json`.",
        "",
    ]
    for key, section, meaning in sections:
        if key:
            lines += [f"## {key}", "", meaning, ""]
        lines += [*_table(section, key), ""]
    return "\n".join(lines)


def _sections(section: Section, prefix: str) -> Iterator[tuple[str, Section, str]]:
    """Every section below one: its key, where `<...>` stands for a name that the site gives, and what it means."""
    for option in section.options:
        key, kind = f"{prefix}{option.name}", option.kind
        if isinstance(kind, Entries) and isinstance(kind.value, Section):
            key, kind = f"{key}.<{kind.key.example}>", kind.value
        if isinstance(kind, Items) and isinstance(kind.of, Section):
            key, kind = f"{key}[]", kind.of
        if isinstance(kind, Section):
            yield key, kind, _meaning(option)
            yield from _sections(kind, f"{key}.")


def _table(section: Section, key: str) -> list[str]:
    prefix = f"{key}." if key else ""
    rows = [
        f"| `{prefix}{option.name}` | {_words(option)} | {option.otherwise} | {_meaning(option)} |"
        for option in section.options
        if not isinstance(option.kind, Section)
    ]
    return ["| Key | Value | Default | Meaning |", "|---|---|---|---|", *rows]


def _words(option: Option) -> str:
    """What a value looks like, with an example where no default shows it."""
    kind = option.kind.of if isinstance(option.kind, Items) else option.kind
    match kind:
        case Text():
            words, example = kind.noun, kind.example
        case Number():
            words, example = f"{kind.noun}, {kind.least} to {kind.most}", kind.example
        case Free():
            words, example = f"a mapping: {kind.noun}", kind.example
        case Flag():
            words, example = "`true` or `false`", ""
        case Choice():
            words, example = ", ".join(f"`{word}`" for word in kind.words), ""
        case Entries(value=Section()):
            words, example = f"a mapping from {kind.key.noun} to the options below", ""
        case Entries(value=Text() as value):
            words, example = f"a mapping from {kind.key.noun} to {value.noun}", f"{kind.key.example}: {value.example}"
        case Entries(value=Items(of=Text() as value)):
            words, example = f"a mapping from {kind.key.noun} to a list, each: {value.noun}", f"{kind.key.example}: [{value.example}]"
        case Section() if kind is not option.kind:
            words, example = "the options below", ""
        case Items() | Section() | Entries():
            raise TypeError(f"{option.name} has no place in a table")
    return f"{'a list, each: ' if kind is not option.kind else ''}{words}" + (
        f", e.g. `{example}`" if example and not option.default else ""
    )


def _meaning(option: Option) -> str:
    words, when = ("Needed with", option.needed_with) if option.needed_with else ("Only with", option.only_with)
    values = " or ".join(f"`{when.key}: {written(value)}`" for value in when.values) if when else ""
    condition = f" {words} {values}." if values else ""
    reserved = f" *{option.reserved}*" if option.reserved else ""
    return f"{option.description}{condition}{reserved}"
