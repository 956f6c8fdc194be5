"""A Redis, or Valkey, that somebody else runs, by TLS alone: `python -m tests.live.counterparts.redis`, with what it needs as JSON."""

import json
import os
import sys
from pathlib import Path

FOLDER = Path("/tmp/redis")


def main() -> None:
    """Become it. Given are `program`, `port`, `certificate`, `key` (PEM) and `password`."""
    given = json.load(sys.stdin)
    FOLDER.mkdir()
    for name in ("certificate", "key"):
        (FOLDER / name).write_text(given[name])
    settings = {
        "port": 0,
        "tls-port": given["port"],
        "bind": "0.0.0.0",
        "tls-auth-clients": "no",
        "tls-cert-file": FOLDER / "certificate",
        "tls-key-file": FOLDER / "key",
        "requirepass": given["password"],
        "dir": FOLDER,
        "save": '""',
    }
    (FOLDER / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    os.execvp(given["program"], [given["program"], str(FOLDER / "redis.conf")])


if __name__ == "__main__":
    main()
