"""Make the state tables of the homeserver smaller: `python -m services.state_compressor.compress REQUEST`.

synapse_auto_compressor does the work, in slices. Before each one this program looks whether Synapse is about to delete state groups: what the
compressor has read must be there when it writes. README.md says more.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from services.state_compressor.compressor import Counts, Failed, Request, compress
from services.state_compressor.database import connected

SLICE = 10
"""Chunks that the compressor does in one run."""
LOOK_SECONDS = 30.0
"""How often it looks whether Synapse has deleted what was marked: it does so every minute."""


def run(request: Request, counts: Counts) -> None:
    """Compress what there is, as far as the request allows. Raises Failed, and what the database raises."""
    end, waiting = time.monotonic() + request.minutes * 60, 0
    with connected(request) as database:
        if not database.claim():
            raise Failed("another one runs: it is enough")
        while counts.chunks < request.chunks and not counts.finished and time.monotonic() < end:
            if deletions := database.deletions():
                if deletions != waiting:
                    print(f"waiting: Synapse is about to delete {deletions} state groups", flush=True)
                waiting = deletions
                time.sleep(min(LOOK_SECONDS, max(end - time.monotonic(), 0)))
                continue
            database.prepare()
            compress(request, min(SLICE, request.chunks - counts.chunks), counts)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m services.state_compressor.compress", description=__doc__)
    parser.add_argument("request", type=Path)
    request, counts, code = Request(**json.loads(parser.parse_args().request.read_text())), Counts(), 0
    try:
        run(request, counts)
    except Exception as error:
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    result = {
        "chunks": counts.chunks,
        "chunks_skipped": counts.chunks_skipped,
        "rows_saved": counts.rows_saved,
        "finished": counts.finished,
    }
    print(json.dumps(result), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
