"""A PostgreSQL that somebody else runs, by TLS alone: `python -m tests.live.counterparts.postgresql`, with what it needs as JSON."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/tmp/postgresql")
DATA = FOLDER / "data"


def main() -> None:
    """Serve until the end.

    Given are `programs` (their folder), `port`, `certificate`, `key` (PEM), `connections`, and `sql`, what its administrator does first.
    """
    given = json.load(sys.stdin)
    programs = Path(given["programs"])
    FOLDER.mkdir()
    for name in ("certificate", "key"):
        (FOLDER / name).write_text(given[name])
        (FOLDER / name).chmod(0o600)
    local = ["--username=administrator", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run([programs / "initdb", "-D", DATA, *local], check=True, stdout=subprocess.DEVNULL, timeout=120)
    (DATA / "pg_hba.conf").write_text("local all all trust\nhostssl all all all scram-sha-256\nhost all all all reject\n")
    settings = {
        "listen_addresses": "*",
        "port": given["port"],
        "unix_socket_directories": FOLDER,
        "fsync": "off",
        "max_connections": given["connections"],
        "ssl": "on",
        "ssl_cert_file": FOLDER / "certificate",
        "ssl_key_file": FOLDER / "key",
    }
    server = subprocess.Popen([programs / "postgres", "-D", DATA, *(f"-c{name}={value}" for name, value in settings.items())])
    # An immediate shutdown, since nobody needs the data afterwards.
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGQUIT))
    connection = ["--host", str(FOLDER), "--port", str(given["port"]), "--username=administrator"]
    while subprocess.run([programs / "pg_isready", *connection], check=False, stdout=subprocess.DEVNULL, timeout=30).returncode:
        time.sleep(0.2)
    for statement in given["sql"]:
        subprocess.run([programs / "psql", "--quiet", *connection, "--dbname=postgres", "--command", statement], check=True, timeout=60)
    print("ready", flush=True)
    sys.exit(server.wait())


if __name__ == "__main__":
    main()
