"""Writes files and becomes another program, since a client of a test has no files of its own.

Usage: `python -m tests.live.clients.with_files`, with JSON on standard input: `files` (path to text) and `command`. `python` in it is this one.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """See the module's own words."""
    given = json.load(sys.stdin)
    for name, text in given["files"].items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        Path(name).chmod(0o600)
    program, *rest = given["command"]
    os.execvp(sys.executable if program == "python" else program, [program, *rest])


if __name__ == "__main__":
    main()
