"""How the options of a site are declared: a kind of value for each type, and what is said about each field.

A settings class is a frozen attrs class. The type of a field says what a value looks like: `bool`, an enum, another settings
class, `Annotated[..., Text(...)]`, a tuple of these, each perhaps `| None`. Its right side, made by `option`, `required` or
`section`, says what the option means and what it is when left out. The reader (app/settings.py), the JSON Schema and the reference
(app/schema.py) are derived from these declarations.
"""

import json
import re
import types
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from attrs import NOTHING, Factory, field, fields, frozen, has

T = TypeVar("T")


@frozen
class Text:
    """A scalar that is written as text.

    `noun` completes the sentence "give ...". `pattern` must match the whole text and means the same in Python and in ECMA-262, the
    dialect of JSON Schema. `mistakes` maps patterns of frequent mistakes to what is wrong with them, and `mend` makes of such a
    text the one that was probably meant. `read` makes the value; it raises ValueError, with the reason, for what no pattern can tell.
    """

    noun: str
    pattern: str
    example: str
    max_length: int | None = None
    mistakes: Mapping[str, str] = field(factory=dict, eq=False)
    mend: Callable[[str], str] = str.strip
    read: Callable[[str], object] = str

    def accepts(self, text: str) -> bool:
        """Whether the form is right; `read` may still refuse it."""
        return (self.max_length is None or len(text) <= self.max_length) and re.fullmatch(self.pattern, text) is not None


@frozen
class Number:
    """A number from `least` to `most`, whole unless `fraction`. `noun` completes the sentence "give ..."."""

    noun: str
    least: int
    most: int
    example: str
    fraction: bool = False

    def read(self, text: str) -> int | float:
        """The number that is written so. Raises ValueError when it is none of these."""
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?" if self.fraction else "[0-9]+", text):
            raise ValueError(f"is not {self.noun}")
        number = float(text) if "." in text else int(text)
        if not self.least <= number <= self.most:
            raise ValueError(f"is not between {self.least} and {self.most}")
        return number


@frozen
class Flag:
    """`true` or `false`."""


@frozen
class Choice:
    """One value of an enum."""

    of: type[StrEnum]

    @property
    def words(self) -> tuple[str, ...]:
        """The values, as they are written."""
        return tuple(member.value for member in self.of)


@frozen
class Items:
    """A list, read as a tuple."""

    of: "Kind"


@frozen
class Entries:
    """A mapping with free keys, read as a tuple of pairs."""

    key: Text
    value: "Kind"


@frozen
class Free:
    """A mapping of another program's own options, read as `Settings`.

    `noun` says what they are; `secrets`, what to do with a secret, which never stands in site.yaml.
    """

    noun: str
    example: str
    secrets: str


@frozen
class Settings:
    """Options of another program as a site gives them: a mapping, kept as JSON."""

    text: str = "{}"

    @property
    def data(self) -> dict[str, Any]:
        """The options."""
        options: dict[str, Any] = json.loads(self.text)
        return options


@frozen
class Section:
    """A mapping with known keys: another settings class."""

    of: type[Any]

    @cached_property
    def options(self) -> tuple["Option", ...]:
        """The options of the section, in the order in which they are declared."""
        return tuple(_option(attribute) for attribute in fields(self.of))


RESERVED = "Reserved: its component is not deployed, so it has no effect."

Kind = Text | Number | Flag | Choice | Items | Entries | Free | Section


class OptionError(ValueError):
    """What an option says is well formed and cannot be deployed. `key`: the option, dotted; `message`: why, and what to do."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        self.message = message
        super().__init__(f"{key}: {message}")


@frozen
class When:
    """Another option, by its dotted key, and the value of it that a rule is about, or any of several."""

    key: str
    value: str | bool
    others: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str | bool, ...]:
        """All of them."""
        return (self.value, *self.others)


@frozen
class Option:
    """One key of a section.

    `default` is the value when the option is left out, or None where there is none or where other options tell; `otherwise` says it in
    words. `only_with`: it has an effect with this value of another option alone; `needed_with`: it must be given with this one. `distinct`: no
    two values of the section may be equal. `reserved`: what of it the platform does not deploy, in a sentence, or nothing. `opens`: the ways out
    of the cluster that it opens, each by the name of its `External`.
    """

    name: str
    kind: Kind
    required: bool
    default: object
    otherwise: str
    description: str
    only_with: When | None
    needed_with: When | None
    distinct: bool
    reserved: str
    opens: tuple[str, ...]


def option(
    default: T,
    description: str = "",
    *,
    otherwise: str | None = None,
    only_with: When | None = None,
    needed_with: When | None = None,
    reserved: str | bool = False,
    opens: tuple[str, ...] = (),
) -> T:
    """A field that may be left out. `otherwise` says what happens then, if the default does not say it itself."""
    said = {"description": description, "otherwise": otherwise, "only_with": only_with, "needed_with": needed_with, "reserved": reserved}
    return field(default=default, metadata=said | {"opens": opens})


def required(description: str) -> Any:
    """A field that must be given."""
    return field(metadata={"description": description})


def section(settings: type[T], *, only_with: When | None = None, distinct: bool = False) -> T:
    """A field that holds other options, all of which may be left out. `distinct`: no two of its values may be equal."""
    return field(factory=settings, metadata={"only_with": only_with, "distinct": distinct})


def options_below(section: Section, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Every option with its dotted key, each section before what is in it."""
    for option in section.options:
        key = f"{prefix}{option.name}"
        yield key, option
        if isinstance(option.kind, Section):
            yield from options_below(option.kind, f"{key}.")


def kind_of(annotation: Any) -> Kind:
    """The kind of value that a type annotation asks for. Raises TypeError for a type that no option has."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return cast("Kind", annotation.__metadata__[0])
    if origin is tuple:
        return Items(kind_of(arguments[0]))
    if origin in (Union, types.UnionType):
        return kind_of(arguments[0])
    if annotation is bool:
        return Flag()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Choice(annotation)
    if has(annotation):
        return Section(annotation)
    raise TypeError(f"{annotation!r} is no type of an option")


def plain(value: object) -> bool | int | float | str | list[object] | None:
    """A value of an option, other than a mapping, as JSON and YAML have it."""
    match value:
        case None | bool() | int() | float():
            return value
        case tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def written(value: object) -> str:
    """A value of an option as it is written in site.yaml."""
    return str(value).lower() if isinstance(value, bool) else str(plain(value))


def _option(attribute: Any) -> Option:
    said: Mapping[str, Any] = attribute.metadata
    kind, default = kind_of(attribute.type), attribute.default
    if default is NOTHING or isinstance(default, Factory):  # type: ignore[arg-type]  # typed as a function
        default = None
    required = attribute.default is NOTHING
    return Option(
        name=attribute.name,
        kind=kind,
        required=required,
        default=default,
        otherwise=said.get("otherwise") or ("required" if required else "none" if default is None else f"`{written(default)}`"),
        description=said.get("description") or (_first_paragraph(kind.of) if isinstance(kind, Section) else ""),
        only_with=said.get("only_with"),
        needed_with=said.get("needed_with"),
        distinct=said.get("distinct", False),
        reserved=RESERVED if said.get("reserved") is True else said.get("reserved") or "",
        opens=said.get("opens", ()),
    )


def _first_paragraph(documented: type[Any]) -> str:
    return " ".join((documented.__doc__ or "").partition("\n\n")[0].split())
