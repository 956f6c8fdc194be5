"""The releases of this project: which one this is, and what CHANGELOG.md says of each."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

_ROOT = Path(__file__).resolve().parents[1]
_BUILT = re.compile(r"Images to build and push before the apply: ([^.]*)\.")
_REPLACED = re.compile(r"pods of these are replaced, each once: ([^.]*)\.")


@frozen
class Section:
    """What CHANGELOG.md says of one release."""

    version: str
    text: str

    @property
    def replaced(self) -> set[str]:
        """The components whose pods it says are replaced."""
        return self._listed(_REPLACED)

    @property
    def built(self) -> set[str]:
        """The images that it says have to be built."""
        return self._listed(_BUILT)

    def _listed(self, pattern: re.Pattern[str]) -> set[str]:
        found = pattern.search(" ".join(self.text.split()))
        return set(re.findall(r"`([^`]+)`", found[1])) if found else set()

    @property
    def commands(self) -> list[str]:
        """What it says to do before the apply."""
        return re.findall(r"`(kubectl [^`]+)`", " ".join(self.text.split()))


def sections() -> list[Section]:
    """Those of CHANGELOG.md, the newest first: that is the version of the repository that this is run from."""
    parts = re.split(r"^## (.+)\n", (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [Section(version, text) for version, text in zip(parts[::2], parts[1::2], strict=True)]


def since(version: str, known: Iterable[Section]) -> list[Section]:
    """What has come after a version, the oldest first."""
    return sorted((section for section in known if is_newer(section.version, version)), key=lambda section: _numbers(section.version))


def is_newer(version: str, other: str) -> bool:
    """Whether a version comes after another one."""
    return _numbers(version) > _numbers(other)


def version_in(pyproject: str | None) -> str | None:
    """The version that a pyproject.toml of this project states; None where there is none, or it is another's."""
    try:
        project = tomllib.loads(pyproject or "")["project"]
        return str(project["version"]) if project["name"] == "matrix-platform" else None
    except (tomllib.TOMLDecodeError, KeyError):
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
