"""Reads site.yaml: a `Site`, or one report of everything that is wrong with the file.

The file is composed to YAML nodes, which know their positions and their text, and is never constructed to Python objects: `1e3`
stays `1e3`. The nodes are then read along the declarations of the options. An option that is null counts as left out.
"""

import codecs
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import define, field, frozen
from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from app.contradictions import contradictions
from app.errors import UserError
from app.site import Site
from kit.options import (
    Choice,
    Entries,
    Flag,
    Free,
    Items,
    Kind,
    Number,
    Option,
    OptionError,
    Section,
    Settings,
    Text,
    When,
    options_below,
    written,
)

SITE: Final = Section(Site)
_DEEPEST = 20
"""Levels of nesting that are read: more than any option has, and few enough for a recursive reader."""

_MOST_PLACES = 3
"""To how many options of one name a person is led who wrote it in the wrong section."""
_LONGEST_SHOWN = 80
"""Characters of a value that a message quotes."""

_TAG = "tag:yaml.org,2002:"
_NOT_TEXT = {
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "null": "null",
    "timestamp": "a date",
    "merge": "a sign of YAML",
    "value": "a sign of YAML",
}

_SYNTAX = (
    (r"'\\t'", "a tab; YAML is indented with spaces"),
    (r"found another document", 'a second document begins here; a site is one document, so remove the "---"'),
    (r"undefined alias", "an alias (*name) without an anchor (&name) before it; a value that begins with * must be in quotes"),
    (r"mapping values are not allowed", 'a ": " that cannot stand here; put the value in quotes, or correct the indentation of the line'),
    (r"cannot start any token", "a value cannot begin with this character; put the value in quotes"),
    (r"expected <block end>", "the indentation of this line fits no line above it"),
    (r"end of stream|<stream end>", "what begins here is never closed; close the quote or the bracket"),
    (r"unknown escape character", "no escape of YAML; write \\\\ for a backslash, or use single quotes"),
    (r"tag handle", "a tag (!name) that is not defined; a value that begins with ! must be in quotes"),
)
"""What frequent syntax errors are, by the parser's words for them. The parser's own words may quote the file; these never do."""

_SECRET_KEY = re.compile(r"secret|passw|token|credential|private|(api|access)_?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"-----BEGIN|//[^/\s]*@"
    r"|(?=[\w+=]*[0-9])(?=[\w+=]*[A-Za-z])[\w+=]{20}"  # one long word of letters and digits: a key or token, no name
    r"|(?=[\w+=-]*[0-9])(?=[\w+=-]*[a-z])(?=[\w+=-]*[A-Z])[\w+=-]{20}"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"
)


@frozen(order=True)
class Problem:
    """One thing that is wrong: where (from 1; 0 if the file could not be opened), with which option, and what to do about it."""

    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class SettingsError(UserError):
    """The settings cannot be used. `str()` is the report: one line per problem in the order of the file, then their number."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        lines = [f"{name}:{found.line}:{found.column}: {found}" if found.line else f"{name}: {found}" for found in self.problems]
        count = len(lines)
        super().__init__("\n".join([*lines, f"{count} error{'s' if count > 1 else ''}; nothing was written."]))


def read_site(path: Path) -> Site:
    """The site that a file describes. Raises SettingsError with everything that is wrong with the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        missing = Problem(0, 0, "", "there is no such file; begin with a copy of the site.yaml of this repository")
        raise SettingsError(str(path), [missing]) from None
    except OSError as error:
        raise SettingsError(str(path), [Problem(0, 0, "", f"cannot be read: {error.strerror}")]) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        problem = Problem(*_position(before, len(before)), "", f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8")
        raise SettingsError(str(path), [problem]) from None
    return parse_site(text, str(path))


def parse_site(text: str, name: str = "site.yaml") -> Site:
    """The site that a text describes; `name` stands for the text in the report. Raises SettingsError."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    root = _compose(text, name)
    reader = _Reader(text)
    if root is None or _is_null(root):
        reader.problem(root, "", "the file is empty; it needs at least server_name and images.registry")
        raise SettingsError(name, reader.problems)
    site = reader.read(SITE, root, root, "")
    reader.check_rules()
    reader.check_distinct()
    if isinstance(site, Site) and not reader.problems:
        for error in contradictions(site):
            reader.report(error)
    if reader.problems or not isinstance(site, Site):
        raise SettingsError(name, reader.problems)
    return site


def problems_of_form(text: str) -> tuple[Problem, ...]:
    """What is wrong with the values of a text by themselves. What one option asks of another is not looked at."""
    return tuple(_read_only(text, "site.yaml").problems)


def located(path: Path, error: OptionError) -> SettingsError:
    """An error that was found after a file had been read, at the place of its option in the file."""
    reader = _read_again(path)
    reader.report(error)
    return SettingsError(str(path), reader.problems)


def warnings(path: Path) -> list[str]:
    """What a file switches on that the platform does not deploy, with its place: one line each. The file is one that `read_site` reads."""
    reader, options = _read_again(path), dict(options_below(SITE))
    known = [(key, found) for key, found in reader.found.items() if key in options]
    given = [(reader.position(found.key_node), key) for key, found in known if found.value != options[key].default]
    return [
        f"{path}:{line}:{column}: warning: {key}: {options[key].reserved}" for (line, column), key in sorted(given) if options[key].reserved
    ]


def _read_again(path: Path) -> "_Reader":
    text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n").replace("\r", "\n")
    return _read_only(text, str(path))


def _read_only(text: str, name: str) -> "_Reader":
    reader = _Reader(text)
    root = _compose(text, name)
    if root is not None:
        reader.read(SITE, root, root, "")
    return reader


@frozen
class _Found:
    """An option that the file gives. `value` is None if it could not be read."""

    key_node: Node
    node: Node
    value: object


@define
class _Reader:
    """Reads nodes by kind. Each method returns the value, or None after it has noted at least one problem."""

    text: str
    problems: list[Problem] = field(factory=list)
    found: dict[str, _Found] = field(factory=dict)
    pairs_of: dict[int, dict[str, tuple[Node, Node]]] = field(factory=dict)

    def problem(self, node: Node | None, key: str, message: str) -> None:
        self.problems.append(Problem(*self.position(node), key, message))

    def report(self, error: OptionError) -> None:
        """Note an error at its option, or at the innermost section that the file gives of it."""
        key = error.key
        while key and key not in self.found:
            key = key.rpartition(".")[0]
        self.problem(self.found[key].node if key else None, error.key, error.message)

    def position(self, node: Node | None) -> tuple[int, int]:
        """Line and column of the first character of a node, from 1."""
        return _position(self.text, node.start_mark.index if node else 0)

    def line(self, node: Node) -> str:
        return f"line {self.position(node)[0]}"

    def read(self, kind: Kind, key_node: Node, node: Node, key: str) -> object:
        if _is_null(node):
            self.problem(node if node.value else key_node, key, "is empty; give a value, or remove it")
            return None
        if not _has_core_tag(node):
            self.problem(node, key, f"{_shown(node, key)} has a tag (!name) that means nothing here; remove the tag")
            return None
        match kind:
            case Text():
                return self.text_value(kind, node, key)
            case Number():
                return self.number(kind, node, key)
            case Flag():
                return self.flag(node, key)
            case Choice():
                return self.choice(kind, node, key)
            case Items():
                return self.items(kind, node, key)
            case Entries():
                return self.entries(kind, node, key)
            case Free():
                return self.free(kind, node, key)
            case Section():
                return self.section(kind, node, key, key_node)

    def section(self, section: Section, node: Node | None, key: str, at: Node) -> object:
        """A settings object. `at` is where a missing key is reported; without a node, all keys are missing."""
        before = len(self.problems)
        if node is not None and not _is(node, MappingNode, "map"):
            known = ", ".join(option.name for option in section.options)
            self.problem(node, key, f"{_shown(node, key)}, where a mapping is needed; put its options below it, each on its line: {known}")
            return None
        pairs = self.pairs(node, key) if node else {}
        options = {option.name: option for option in section.options}
        for name in pairs.keys() - options.keys():
            self.problem(pairs[name][0], key, _unknown(name, section))
        values = {}
        for name, option in options.items():
            dotted = f"{key}.{name}" if key else name
            key_node, value_node = pairs.get(name, (at, None))
            if value_node is not None and not _is_null(value_node):
                values[name] = self.read(option.kind, key_node, value_node, dotted)
                self.found[dotted] = _Found(key_node, value_node, values[name])
            elif option.required and isinstance(option.kind, Section):
                self.section(option.kind, None, dotted, key_node)
            elif option.required:
                self.problem(key_node, dotted, f"is missing; {_wanted(option)}")
        return None if len(self.problems) > before else section.of(**values)

    def pairs(self, node: Node, key: str) -> dict[str, tuple[Node, Node]]:
        """The key and value nodes of a mapping by name, with those that it merges (`<<`)."""
        if id(node) in self.pairs_of:
            return self.pairs_of[id(node)]
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        self.pairs_of[id(node)] = own  # a mapping that merges itself finds what it has so far
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for source in value_node.value if isinstance(value_node, SequenceNode) else [value_node]:
                    if isinstance(source, MappingNode):
                        merged = {**self.pairs(source, key), **merged}
                    else:
                        self.problem(source, key, f"{_shown(source, key)} cannot be merged; << takes a mapping or a list of mappings")
            elif not _is(key_node, ScalarNode, "str"):
                self.problem(key_node, key, f"{_shown(key_node, key)} is no key; a key is plain text")
            elif key_node.value in own:
                first = own[key_node.value][0]
                self.problem(key_node, key, f"the key {_quoted(key_node.value)} is given twice, first in {self.line(first)}; remove one")
            else:
                own[key_node.value] = (key_node, value_node)
        own.update({name: pair for name, pair in merged.items() if name not in own})
        return own

    def text_value(self, kind: Text, node: Node, key: str) -> object:
        wanted = f"give {kind.noun}, e.g. {_hint(kind, node, key)}"
        if not isinstance(node, ScalarNode):
            self.problem(node, key, f"{_shown(node, key)}, where one value is needed; {wanted}")
        elif not _is(node, ScalarNode, "str"):
            self.problem(node, key, _no_text(kind, node, key, wanted))
        elif not kind.accepts(node.value):
            self.problem(node, key, f"{_shown(node, key)} {_mistake(kind, node.value) or 'is not allowed'}; {wanted}")
        else:
            try:
                return kind.read(node.value)
            except ValueError as error:
                self.problem(node, key, f"{_shown(node, key)} {error}")
        return None

    def number(self, kind: Number, node: Node, key: str) -> object:
        if isinstance(node, ScalarNode) and (_is(node, ScalarNode, "int") or _is(node, ScalarNode, "float")):
            try:
                return kind.read(node.value)
            except ValueError as error:
                reason = str(error)
        else:
            reason = "is not a number"
        quoted = "; write it without quotes" if _is(node, ScalarNode, "str") and re.fullmatch("[0-9.]+", node.value) else ""
        self.problem(node, key, f"{_shown(node, key)} {reason}{quoted}; give {kind.noun}, e.g. {kind.example}")
        return None

    def flag(self, node: Node, key: str) -> bool | None:
        text = node.value.lower() if isinstance(node, ScalarNode) else ""
        if _is(node, ScalarNode, "bool") and text in ("true", "false"):
            return bool(text == "true")
        meant = "true" if text in ("true", "yes", "on", "y") else "false" if text in ("false", "no", "off", "n") else "true or false"
        is_text = _is(node, ScalarNode, "str") or _is(node, ScalarNode, "bool")  # `yes` is a boolean under a %YAML 1.1 directive only
        what = "text in YAML 1.2, not a boolean" if is_text else "not a boolean"
        self.problem(node, key, f"{_shown(node, key)} is {what}; write {meant}{' without quotes' if text == meant else ''}")
        return None

    def choice(self, choice: Choice, node: Node, key: str) -> object:
        if _is(node, ScalarNode, "str") and node.value in choice.words:
            return choice.of(node.value)
        near = _nearest(str(node.value), choice.words) if isinstance(node, ScalarNode) else None
        meant = f'; did you mean "{near}"?' if near else ""
        self.problem(node, key, f"{_shown(node, key)} is not allowed; give one of {', '.join(choice.words)}{meant}")
        return None

    def items(self, kind: Items, node: Node, key: str) -> object:
        if not _is(node, SequenceNode, "seq"):
            example = _hint(kind.of, node, key) if isinstance(kind.of, Text) else ""
            self.problem(node, key, f"{_shown(node, key)} is not a list; write it in brackets, e.g. [{example}]")
            return None
        values = [self.read(kind.of, item, item, f"{key}[{place}]") for place, item in enumerate(node.value)]
        return None if None in values else tuple(values)

    def entries(self, kind: Entries, node: Node, key: str) -> object:
        before = len(self.problems)
        if not _is(node, MappingNode, "map"):
            example = f"{kind.key.example}:{f' {kind.value.example}' if isinstance(kind.value, Text) else ''}"
            self.problem(node, key, f"{_shown(node, key)} is not a mapping; write each entry on its line below, e.g. {example}")
            return None
        values = []
        for name, (key_node, value_node) in self.pairs(node, key).items():
            if not kind.key.accepts(name):
                self.problem(key_node, key, f"{_quoted(name)} is not {kind.key.noun}, e.g. {kind.key.example}")
            else:
                try:
                    name = str(kind.key.read(name))
                except ValueError as error:
                    self.problem(key_node, key, f"{_quoted(name)} {error}")
            place = f"{key}[{_quoted(name)}]"
            values.append((name, self.read(kind.value, key_node, value_node, place)))
            self.found[place] = _Found(key_node, value_node, values[-1][1])
        return None if len(self.problems) > before else tuple(values)

    def free(self, kind: Free, node: Node, key: str) -> Settings | None:
        """Another program's own options, in which there is no secret."""
        before = len(self.problems)
        if not _is(node, MappingNode, "map"):
            self.problem(node, key, f"{_shown(node, key)} is not a mapping; write {kind.noun} below it, e.g. {kind.example}")
            return None
        options = self.anything(kind, node, key)
        return None if len(self.problems) > before else Settings(json.dumps(options, sort_keys=True))

    def anything(self, kind: Free, node: Node, key: str) -> object:
        """Whatever YAML can say, as JSON has it."""
        if isinstance(node, MappingNode):
            options = {}
            for name, (key_node, value_node) in self.pairs(node, key).items():
                options[name] = self.anything(kind, value_node, f"{key}.{name}")
                self.found[f"{key}.{name}"] = _Found(key_node, value_node, options[name])
            return options
        if isinstance(node, SequenceNode):
            return [self.anything(kind, item, f"{key}[{place}]") for place, item in enumerate(node.value)]
        if not _has_core_tag(node):
            self.problem(node, key, f"{_shown(node, key)} has a tag (!name) that means nothing here; remove the tag")
        elif _holds_secret(key, node):
            self.problem(node, key, f"the value (not shown) may be a secret, which must not be in this file; {kind.secrets}")
        elif _is(node, ScalarNode, "bool") or _is(node, ScalarNode, "int") or _is(node, ScalarNode, "float"):
            try:
                return json.loads(node.value.lower())
            except ValueError:
                self.problem(node, key, f"{_shown(node, key)} is a number as only YAML has it; write it in decimal, or as text in quotes")
        else:
            return None if _is_null(node) else node.value
        return None

    def check_rules(self) -> None:
        """Note options that have no effect with the values of others, and those that others need."""
        options = dict(options_below(SITE))
        for key, option in options.items():
            if option.only_with:
                self.check_only_with(key, option.only_with, options[option.only_with.key].default)
            if option.needed_with:
                self.check_needed_with(key, option, option.needed_with)

    def check_only_with(self, key: str, rule: When, default: object) -> None:
        given, selector = self.found.get(key), self.found.get(rule.key)
        value = selector.value if selector else default
        if given and value is not None and value not in rule.values:
            here, there = f"{rule.key}: {written(value)}", f"{rule.key}: {written(rule.value)}"
            where = self.line(selector.node) if selector else "the default"
            self.problem(given.key_node, key, f"has no effect with {here} ({where}); remove it, or write {there}")

    def check_needed_with(self, key: str, option: Option, rule: When) -> None:
        selector = self.found.get(rule.key)
        if selector and selector.value in rule.values and key not in self.found:
            parent = key.rpartition(".")[0]
            section = self.found.get(parent)
            lacks = f"which {parent} ({self.line(section.key_node)}) lacks" if section else "which is missing"
            self.problem(selector.node, rule.key, f"{written(selector.value)} needs {key}, {lacks}; {_wanted(option)}")

    def check_distinct(self) -> None:
        """Note values that must differ from another one of their section and do not."""
        server = self.found.get("server_name")
        domain = str(server.value).partition(":")[0] if server and server.value else None
        for section_key, section in options_below(SITE):
            if not section.distinct or not isinstance(section.kind, Section):
                continue
            keys = {f"{section_key}.{option.name}": option for option in section.kind.options}
            owners: dict[object, str] = {}
            for key, option in keys.items():
                if key not in self.found and domain:
                    owners[str(option.default).replace("<server_name>", domain)] = f"{key} (its default)"
            given = {key: self.found[key] for key in keys.keys() & self.found.keys() if self.found[key].value is not None}
            for key, found in sorted(given.items(), key=lambda entry: self.position(entry[1].node)):
                if found.value in owners:
                    self.problem(found.node, key, f"{_shown(found.node, key)} is also {owners[found.value]}; they must differ")
                else:
                    owners[found.value] = f"{key} ({self.line(found.node)})"


def _compose(text: str, name: str) -> Node | None:
    """The root node. Raises SettingsError for what is not YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    yaml.composer.warn_double_anchors = False
    message = ""
    try:
        root: Node | None = yaml.compose(text)
        return root
    except ReaderError as error:
        index, message = error.position, f"the character U+{ord(text[error.position]):04X} is not allowed in YAML; remove it"
    except MaxDepthExceededError as error:
        index, message = error.problem_mark.index, "is nested deeper than any option; remove a level"
    except MarkedYAMLError as error:
        said = error.problem or error.context or ""
        unclosed = re.search("end of stream|<stream end>", said) and error.context_mark
        index = (error.context_mark if unclosed else error.problem_mark).index
        message = next((ours for theirs, ours in _SYNTAX if re.search(theirs, said)), f"this is not valid YAML: {said}")
    except (ValueError, OverflowError):
        index, message = max(text.find("\\U"), 0), "an escape (\\U) beyond the last character of Unicode"
    raise SettingsError(name, [Problem(*_position(text, index), "", message)])


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column of an index into a text, from 1. Only line feeds end a line, as in YAML 1.2 and in editors."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _is(node: Node, kind: type[Node], tag: str) -> bool:
    return isinstance(node, kind) and node.tag == f"{_TAG}{tag}"


_SECRET_OPTION = re.compile(
    r"(secret|passw(or)?d|pass|passphrase|pepper|token|credentials?|((private|secret|shared|api|access)_?)key)$", re.IGNORECASE
)
"""How options of other programs are called whose value is a secret: by their last word, so that lifetimes and paths of secrets are none."""


def _holds_secret(key: str, node: Node) -> bool:
    return node.tag == f"{_TAG}str" and bool(
        node.value and (_SECRET_OPTION.search(re.sub(r"\[[0-9]+\]$", "", key)) or _may_be_secret(node.value))
    )


def _has_core_tag(node: Node) -> bool:
    """Whether the tag of a node is what YAML gives its form by itself."""
    if isinstance(node, ScalarNode):
        return _is(node, ScalarNode, "str") or _type_of(node) is not None
    return _is(node, MappingNode, "map") or _is(node, SequenceNode, "seq")


def _is_null(node: Node) -> bool:
    return _is(node, ScalarNode, "null")


def _quoted(text: str) -> str:
    """A text in one line and in quotes, or not at all if it may be a secret."""
    if _may_be_secret(text):
        return "(not shown)"
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return json.dumps(short, ensure_ascii=not short.isprintable())


def _may_be_secret(text: str) -> bool:
    """Whether the part of a text that would be shown may be a secret."""
    return _SECRET_VALUE.search(text[: 2 * _LONGEST_SHOWN]) is not None


def _shown(node: Node, key: str) -> str:
    """A value for a message, unless its key or its form says that it may be a secret."""
    if not isinstance(node, ScalarNode):
        return "a mapping" if isinstance(node, MappingNode) else "a list"
    text: str = node.value
    if _SECRET_KEY.search(key.rpartition(".")[2]) or _may_be_secret(text):
        return "the value (not shown)"
    as_is = _type_of(node) and not node.style and text.isprintable() and len(text) <= _LONGEST_SHOWN
    return text if as_is else _quoted(text)


def _type_of(node: ScalarNode) -> str | None:
    """What YAML takes a scalar for, if for anything but text."""
    return _NOT_TEXT.get(str(node.tag).removeprefix(_TAG))


def _no_text(kind: Text, node: ScalarNode, key: str, wanted: str) -> str:
    """What is wrong with a scalar that YAML does not take for text."""
    shown, what = _shown(node, key), _type_of(node)
    if kind.accepts(node.value):
        return f"{shown} is {what} in YAML, where text is needed; put it in quotes"
    return f"{shown} {_mistake(kind, node.value) or f'is {what}'}; {wanted}"


def _mistake(kind: Text, text: str) -> str | None:
    """What is wrong with a text, if it is a frequent mistake."""
    if not text.strip():
        return "is empty"
    if kind.max_length and len(text) > kind.max_length:
        return f"has {len(text)} characters, of which at most {kind.max_length} are allowed"
    return next((words for pattern, words in kind.mistakes.items() if re.fullmatch(pattern, text)), None)


def _hint(kind: Text, node: Node, key: str) -> str:
    """How to write a value right: the one that was probably meant, else an example."""
    meant = kind.mend(node.value) if isinstance(node, ScalarNode) else ""
    hidden = not isinstance(node, ScalarNode) or _shown(node, key).endswith("(not shown)")
    return meant if meant and not hidden and kind.accepts(meant) and len(meant) <= _LONGEST_SHOWN else kind.example


def _wanted(option: Option) -> str:
    """How to write an option that is missing."""
    match option.kind:
        case Text() | Number() as kind:
            return f"give {kind.noun}, e.g. {option.name}: {kind.example}"
        case Section() as section:
            required = ", ".join(part.name for part in section.options if part.required)
            return f"add {option.name}: with at least {required} below it"
        case Items(Text() as kind):
            return f"list them, each {kind.noun}, e.g. {option.name}: [{kind.example}]"
        case _:
            return f"add {option.name}"


def _unknown(name: str, section: Section) -> str:
    """What to say of a key that a section does not have."""
    known = [option.name for option in section.options]
    elsewhere = [dotted for dotted, _ in options_below(SITE) if dotted.rpartition(".")[2] == name]
    near = _nearest(name, known)
    meant = [near] if near else elsewhere if len(elsewhere) <= _MOST_PLACES else []
    guess = " or ".join(f'"{dotted}"' for dotted in meant)
    return f"unknown key {_quoted(name)}; " + (f"did you mean {guess}?" if guess else f"known here: {', '.join(known)}")


def _nearest(word: str, known: Iterable[str]) -> str | None:
    import difflib  # takes milliseconds to load and is needed for errors only

    return next(iter(difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1)), None)
