"""Writing `dist/`: the only place where the compiler touches files, and it replaces the tree only by a complete one."""

import shutil
import tempfile
import time
from pathlib import Path

from app.errors import UserError
from app.layout import Files

_ABANDONED_SECONDS = 3600
"""A run takes seconds: a folder this old is nobody's."""


class DistError(UserError):
    """`dist/` could not be written; it is as it was."""


def write_tree(target: Path, files: Files) -> None:
    """Make `target` hold exactly these files.

    The tree is written beside the target and then takes its place, so that an error on the way (a full disk, a missing right)
    leaves the old one whole. DistError says what stopped it.
    """
    # A link stays, and what it leads to changes.
    target = target.resolve()
    parent = target.parent
    if target.exists() and not _is_ours(target):
        raise DistError(f"{target} exists and is not a folder that synth has written: choose another with --out, or remove it")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _tidy(target)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=parent))
    except OSError as error:
        raise DistError(f"{parent}: {error.strerror}; nothing was written") from error
    try:
        new = staging / "new"
        for path, text in files.items():
            file = new / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        if target.exists():
            target.rename(staging / "old")
        try:
            new.rename(target)
        except OSError:
            if (staging / "old").exists():
                (staging / "old").rename(target)
            raise
    except OSError as error:
        raise DistError(f"{error.filename or target}: {error.strerror}; {target} is as it was") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def differing(target: Path, files: Files) -> dict[str, str]:
    """Path to what is wrong with it, for every file in which a folder is not what `write_tree` would make of it."""
    there = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()} if target.is_dir() else {}
    found = {path: "is not there" for path in files if path not in there}
    found |= {path: "has no source any more" for path in there if path not in files}
    found |= {path: "differs" for path in there if path in files and there[path].read_bytes() != files[path].encode()}
    return dict(sorted(found.items()))


def _tidy(target: Path) -> None:
    """Put right what a run left that was killed: the old tree, if it had gone aside and no new one had come, and the folders beside it."""
    for staging in target.parent.glob(f".{target.name}-*"):
        old = staging / "old"
        if _is_ours(old) and not target.exists():
            old.rename(target)
        if time.time() - staging.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(staging, ignore_errors=True)


def _is_ours(target: Path) -> bool:
    """A folder that is empty or holds a base: never replace what somebody else keeps there."""
    return target.is_dir() and (not any(target.iterdir()) or (target / "base" / "kustomization.yaml").is_file())
