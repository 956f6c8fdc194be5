"""Files of another installation, as Synapse and Helm read them: YAML 1.1, in which `yes` is true. What is wrong with one is never quoted."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from app.errors import UserError

_LARGEST = 512 * 1024
"""Bytes. The longest real configurations are a few dozen KiB."""
_MOST_VALUES, _DEEPEST = 20_000, 40
"""What a file may become once its anchors are followed."""


@frozen
class Given:
    """One file, or a text within one. `lines`: of each of its keys; of a text within another, where that stands."""

    name: str
    data: Mapping[str, Any]
    lines: Mapping[str, int]

    def place(self, key: str) -> str:
        """Where a key is."""
        return f"{self.name}:{self.lines.get(key, 1)}"


def read_given(path: Path) -> list[Given]:
    """The files of a path: of a folder every *.yaml in it, as Synapse takes them. Raises UserError, which says what to do."""
    if path.is_dir():
        files = sorted(path.glob("*.yaml"))
        if not files:
            raise UserError(f"{path}: is a folder without a *.yaml; give the folder that Synapse reads, or its files")
        return [_read_file(file) for file in files]
    return [_read_file(path)]


def read_text(text: str, name: str, line: int | None = None) -> Given:
    """What a text says. `line`: where it stands in another one."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.reader.ReaderError:
        raise UserError(f"{name}: has characters that no YAML has; is it encrypted or packed? Give the plain text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and line is None else name
        if "{{" in text or "{%" in text:
            raise UserError(f"{place}: is no YAML, and has signs of a template ({{{{): render it first, and give what comes out") from None
        if "expected a single document" in str(error):
            raise UserError(f"{place}: a second document begins here; give each in a file of its own") from None
        raise UserError(
            f"{place}: is no YAML: look at the quotes, brackets and indentation here and in the line before; tabs cannot indent, and a value that "
            "begins with * & ! % @ or ` must be in quotes"
        ) from None
    except RecursionError:
        raise UserError(f"{name}: is nested deeper than any configuration; is it the right file?") from None
    except (ValueError, OverflowError):
        raise UserError(f"{name}: has a date or number that does not exist; put it in quotes") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(data, dict):
        what = "is empty" if root is None else "is no mapping of options"
        raise UserError(f"{name}: {what}; give homeserver.yaml, a worker's file, a registration, or the values of ess-helm, in the clear")
    lines = {str(key.value): key.start_mark.line + 1 if line is None else line for key, _ in root.value if isinstance(key, yaml.ScalarNode)}
    count = _Count(name)
    return Given(name, {str(key): count.plain(value, 1) for key, value in data.items()}, lines)


def _read_file(path: Path) -> Given:
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path}: has {path.stat().st_size} bytes, more than any configuration; is it the right file?")
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return read_text(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no UTF-8; is it encrypted or packed? Give the plain text, saved as UTF-8") from None


class _Count:
    """Makes plain values, and refuses what anchors blow up."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, _MOST_VALUES

    def plain(self, value: object, depth: int) -> Any:
        """A value as JSON has it."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise UserError(f"{self._name}: its anchors (&name, *name) become more than any configuration; write out what they stand for")
        match value:
            case dict():
                return {str(name): self.plain(of, depth + 1) for name, of in value.items()}
            case list() | tuple() | set():
                return [self.plain(item, depth + 1) for item in value]
            case datetime.date():
                return value.isoformat()
            case bytes():
                return value.decode(errors="replace")
            case _:
                return value
