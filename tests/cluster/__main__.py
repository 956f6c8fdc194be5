"""`make cluster`: the cluster for a person to play with, until they end it.

Usage: python -m tests.cluster [PROFILE] [--site FILE] [--without-platform] | --check | --stop
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from tests.cluster import SITE, Overlay, compiled, machine, running_cluster
from tests.cluster.convergence import missing
from tests.cluster.sandbox import running
from tests.kustomize import ROOT

KUBECONFIG = ROOT / ".tools" / "cluster" / "kubeconfig"


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def stop(seconds: float = 60) -> None:
    """End the cluster that is running on this machine, in peace."""
    process, deadline = running(), time.monotonic() + seconds
    if process:
        os.kill(process, signal.SIGTERM)
    while running() and time.monotonic() < deadline:
        time.sleep(0.5)
    say("ended" if process else "no cluster is running")


def main() -> None:
    """Run it until Ctrl-C, or until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster")
    parser.add_argument("profile", nargs="?", default="100-ccu", help="one of overlays/")
    parser.add_argument("--site", type=Path, default=SITE, help="the settings of the installation; by default those of the tests")
    parser.add_argument("--without-platform", action="store_true", help="nodes and operators alone; the images of the profile are there")
    parser.add_argument("--check", action="store_true", help="only say whether it can run here")
    parser.add_argument("--stop", action="store_true", help="end the cluster that is running on this machine")
    chosen = parser.parse_args()
    if chosen.stop:
        stop()
        return
    if lack := machine.lacks():
        sys.exit(f"The cluster cannot run here: {lack}.")
    if chosen.check:
        return
    signal.signal(signal.SIGTERM, _end)
    overlays = compiled(chosen.site.resolve(), ROOT / ".tools" / "cluster" / "dist")
    with contextlib.suppress(KeyboardInterrupt), running_cluster(say, overlays / chosen.profile) as cluster:
        KUBECONFIG.unlink(missing_ok=True)
        KUBECONFIG.symlink_to(cluster.api.kubeconfig)
        if not chosen.without_platform:
            say(f"applying {chosen.profile}")
            Overlay(overlays / chosen.profile, cluster.place.folder / "overlay").apply(cluster.api)
        say(f"\nexport KUBECONFIG={KUBECONFIG}\nThe programs' output: {cluster.logs}\nCtrl-C ends it and takes everything away.\n")
        left = ["everything"]
        while True:
            cluster.check()
            before, left = left, [] if chosen.without_platform else missing(cluster.api)
            if left != before:
                say(f"waiting for {len(left)}: {', '.join(left)[:300]}" if left else "everything is ready")
            time.sleep(5)
    KUBECONFIG.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
