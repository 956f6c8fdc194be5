"""How long `synth` takes beside an empty cdk8s app, and how that grows with the number of workers. Prints seconds, exits 1 over the target.

All programs run in turn, so that a busy machine slows each alike; a figure is the median of the rounds. What is compared is the ratio to
the empty app of the same round, since seconds are a machine's own. The target is 3.3 s on a machine whose empty app takes 0.45 s: there,
the closest peer needs as long for one `helm template` of one size.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from app.__main__ import select_node

ROUNDS = 5
TARGET = 3.3 / 0.45
PYTHON = [sys.executable, "-O"]
PROGRAMS = {
    "empty app": [*PYTHON, "-m", "bench.empty"],
    "synth": [*PYTHON, "-m", "app", "synth", "--out"],
    "synth, 1x workers": [*PYTHON, "-m", "bench.scaled", "1"],
    "synth, 2x workers": [*PYTHON, "-m", "bench.scaled", "2"],
    "synth, 4x workers": [*PYTHON, "-m", "bench.scaled", "4"],
}


def seconds(program: Sequence[str], folder: Path) -> float:
    """Wall-clock time of one run that writes to `folder`. CalledProcessError if it fails."""
    start = time.perf_counter()
    # Python must be free to keep what it compiles, as on a user's machine.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([*program, str(folder)], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def size(folder: Path) -> str:
    """How many files are below a folder, and their sum in kB."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1000:.0f} kB"


def main() -> None:
    """Measure and print."""
    select_node()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / str(number) for number, name in enumerate(PROGRAMS)}
        for name, program in PROGRAMS.items():
            seconds(program, folders[name])
        rounds = [{name: seconds(program, folders[name]) for name, program in PROGRAMS.items()} for _ in range(ROUNDS)]
        ratios = {name: median(single[name] / single["empty app"] for single in rounds) for name in PROGRAMS}
        for name in PROGRAMS:
            measured = [single[name] for single in rounds]
            spread = f"{median(measured):5.2f} s ({min(measured):.2f} to {max(measured):.2f})"
            print(f"{name:17} {spread}, {ratios[name]:5.2f} x the empty app, {size(folders[name])}")
    met = ratios["synth"] <= TARGET
    print(f"target: at most {TARGET:.2f} x the empty app, {'met' if met else 'missed'}")
    sys.exit(not met)


if __name__ == "__main__":
    main()
