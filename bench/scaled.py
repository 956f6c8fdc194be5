"""`synth` for the shipped profiles with every number of workers multiplied. Usage: scaled.py FACTOR FOLDER."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from app.__main__ import select_node
from overlays import Profile, profiles
from overlays.profile import Workers


def scaled(profile: Profile, factor: int) -> Profile:
    """The same profile with `factor` times the workers, and a database that takes the connections of that many."""
    workers: Mapping[str, Any] = {name: factor * getattr(profile.workers, name) for name in Workers.named_fields()}
    postgresql = evolve(profile.postgresql, max_connections=factor * profile.postgresql.max_connections)
    return evolve(profile, workers=evolve(profile.workers, **workers), postgresql=postgresql)


def main() -> None:
    """Compile and write."""
    select_node()
    from app.compiler import compile_site
    from app.dist import write_tree
    from app.settings import read_site

    factor, folder = int(sys.argv[1]), Path(sys.argv[2])
    write_tree(folder, compile_site(read_site(Path("site.yaml")), [scaled(profile, factor) for profile in profiles()]))


if __name__ == "__main__":
    main()
