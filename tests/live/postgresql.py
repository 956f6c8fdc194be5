"""A real PostgreSQL for the time of a block, with nothing in it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.processes import LOOPBACK, running
from tests.live.programs import postgresql_programs


@contextmanager
def running_postgresql(
    port: int, superuser: str, password: str | None = None, *, tls: tuple[str, str] | None = None, **settings: object
) -> Iterator[None]:
    """It takes every user, or with a password (of `superuser`, in the beginning) those who know theirs. `tls`: its certificate and key."""
    programs = postgresql_programs()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        secret, authentication, other = Path(name, "password"), "trust", []
        if password is not None:
            secret.write_text(password)
            authentication = "scram-sha-256"
        certificate, key = Path(name, "tls.crt"), Path(name, "tls.key")
        if tls:
            certificate.write_text(tls[0])
            key.write_text(tls[1])
            key.chmod(0o600)
            settings |= {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key}
        # It refuses to be root.
        if os.getuid() == 0:
            for path in (Path(name), *Path(name).iterdir()):
                shutil.chown(path, "postgres", "postgres")
            other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, words = f"{name}/data", ["--encoding=UTF8", "--locale=C", "--no-sync", f"--auth={authentication}"]
        words += [f"--pwfile={secret}"] * (password is not None)
        initdb: list[str | Path] = [*other, programs / "initdb", "-D", data, "-U", superuser, *words]
        subprocess.run(initdb, check=True, capture_output=True, timeout=120, cwd="/")
        chosen = {"listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": name, "fsync": "off", **settings}
        postgres: list[str | Path] = [*other, programs / "postgres", "-D", data]
        postgres += [word for key, value in chosen.items() for word in ("-c", f"{key}={value}")]
        with running(postgres, name="postgresql", folder=Path("/")) as program:
            program.ready(lambda: "ready to accept connections" in program.output(), 60)
            yield
