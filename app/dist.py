"""Writing `dist/`: the only place where the compiler touches files, and it replaces the tree only by a complete one."""

import shutil
import tempfile
from pathlib import Path

from app.errors import UserError
from app.layout import Files


class DistError(UserError):
    """`dist/` could not be written; it is as it was."""


def write_tree(target: Path, files: Files) -> None:
    """Make `target` hold exactly these files.

    The tree is written beside the target and then takes its place, so that an error on the way (a full disk, a missing right)
    leaves the old one whole. DistError says what stopped it.
    """
    parent = target.absolute().parent
    if target.exists() and not _is_ours(target):
        raise DistError(f"{target} exists and is not a folder that synth has written: choose another with --out, or remove it")
    try:
        parent.mkdir(parents=True, exist_ok=True)
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


def _is_ours(target: Path) -> bool:
    """A folder that is empty or holds a base: never replace what somebody else keeps there."""
    return target.is_dir() and (not any(target.iterdir()) or (target / "base" / "kustomization.yaml").is_file())
