"""Keep and serve a mirror of ClamAV's signatures.

    python -m services.signature_mirror update FOLDER [--from BUNDLE] [--extra SIGNATURES]
    python -m services.signature_mirror serve FOLDER

`update` fetches the databases from ClamAV, or takes those of a folder where there is no internet, and publishes them below FOLDER; `serve`
serves what is published. Exit codes: 0 done; 1 not done, which is said, and what was published before stays; 2 wrong usage.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from services.signature_mirror.publication import UnusableError, collect, publish
from services.signature_mirror.server import serve


def _say(line: str) -> None:
    print(line, flush=True)


def _update(options: argparse.Namespace) -> None:
    if options.bundle:
        databases: Path = options.bundle
    else:
        from services.signature_mirror.download import download

        databases = download(options.folder / "download", options.nameserver)
    publication = collect(databases, *([options.extra] if options.extra else []))
    if not publish(publication, options.folder / "public", options.settle, _say):
        _say(f"nothing new; the signatures are {publication.digest}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="signature_mirror", description="Keep and serve a mirror of ClamAV's signatures.")
    commands = parser.add_subparsers(dest="command", required=True)
    update = commands.add_parser("update", help="bring what is served up to date")
    update.add_argument("folder", type=Path, help="the mirror's volume")
    update.add_argument("--from", dest="bundle", type=Path, metavar="BUNDLE", help="take the databases of this folder, ask nobody")
    update.add_argument("--extra", type=Path, metavar="SIGNATURES", help="a folder with signatures of your own, which are added")
    update.add_argument(
        "--settle", type=float, default=300, metavar="SECONDS", help="longer than a run of freshclam (default: %(default)s)"
    )
    update.add_argument("--nameserver", default="", help="ask these DNS servers for ClamAV's versions instead of the system's")
    update.add_argument("--time-limit", type=int, default=1800, metavar="SECONDS", help="give up after this long (default: %(default)s)")
    server = commands.add_parser("serve", help="serve what has been published")
    server.add_argument("folder", type=Path, help="the mirror's volume")
    server.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")
    server.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "serve":
            asyncio.run(serve(options.folder / "public", options.host, options.port))
        else:
            # cvdupdate's downloads have no time limit of their own.
            signal.signal(signal.SIGALRM, _give_up)
            signal.alarm(options.time_limit)
            _update(options)
    except (UnusableError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def _give_up(*_: object) -> None:
    raise TimeoutError("not done within the time limit")


if __name__ == "__main__":
    sys.exit(main())
