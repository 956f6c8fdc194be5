"""How long `synth` takes beside an empty cdk8s app, and how that grows with the number of workers. Prints seconds, exits 1 over the target.

All programs run in turn, so that a busy machine slows each alike; a figure is the median of the rounds. What is compared is the ratio, since
seconds are a machine's own: the target is that of 3.3 s on a machine whose empty app takes 0.45 s, which is what one `helm template` of
one size takes the closest peer there.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

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


def objects(folder: Path) -> tuple[int, int]:
    """Kubernetes objects, and bytes of all files, below a folder."""
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    return sum(line.startswith("kind: ") for text in texts for line in text.splitlines()), sum(map(len, texts))


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / str(number) for number, name in enumerate(PROGRAMS)}
        for name, program in PROGRAMS.items():
            seconds(program, folders[name])
        rounds = [{name: seconds(program, folders[name]) for name, program in PROGRAMS.items()} for _ in range(ROUNDS)]
        times = {name: [single[name] for single in rounds] for name in PROGRAMS}
        empty = median(times["empty app"])
        for name, measured in times.items():
            count, size = objects(folders[name])
            line = f"{name:18} {median(measured):5.2f} s ({min(measured):.2f} to {max(measured):.2f}), {median(measured) / empty:5.2f} x the empty app"
            print(f"{line}, {count} objects, {size / 1e3:.0f} kB")
    ratio = median(times["synth"]) / empty
    print(f"target: at most {TARGET:.2f} x the empty app; measured {ratio:.2f} x: {'met' if ratio <= TARGET else 'missed'}")
    sys.exit(ratio > TARGET)


if __name__ == "__main__":
    main()
