"""`synth` for the shipped profiles with every number of workers multiplied. Usage: scaled.py FACTOR FOLDER."""

import sys
from pathlib import Path
from typing import Any

from attrs import evolve

from app.compiler import compile_site
from app.dist import write_tree
from app.settings import read_site
from overlays import Profile, profiles
from overlays.profile import Workers


def scaled(profile: Profile, factor: int) -> Profile:
    """The same profile with `factor` times the workers, and a database that takes the connections of that many."""
    workers, database = profile.synapse.workers, profile.postgresql
    more: dict[str, Any] = {name: factor * getattr(workers, name) for name in Workers.named_fields()}
    larger = evolve(database, max_connections=factor * database.max_connections, memory=database.memory * factor)
    return evolve(profile, synapse=evolve(profile.synapse, workers=evolve(workers, **more)), postgresql=larger)


if __name__ == "__main__":
    write_tree(Path(sys.argv[2]), compile_site(read_site(Path("site.yaml")), [scaled(profile, int(sys.argv[1])) for profile in profiles()]))
