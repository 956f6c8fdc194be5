"""What makes the homeserver's state tables smaller."""

import json

from attrs import evolve

from infrastructure.postgresql.component import Database
from infrastructure.programs import program
from kit.component import Component
from kit.images import image
from kit.installation import Installation
from kit.place import Place
from kit.pods import Mount, PodSpec, SecretFiles
from kit.quantities import Resources, mib, millicores
from main_instance.state_compressor.options import StateCompressorOptions

LEVELS = "100,50,25"
"""The compressor's own default: a state is found in 175 steps at most (docs/algorithm.md there)."""
MINUTES = 120
_NIGHTLY = "23 3 * * *"
"""An hour after the media sweep."""
_PASSWORD, _AUTHORITY = "/secrets/database", "/secrets/database-ca"


class StateCompressor(Component):
    """Synapse writes the state of a room anew for every hundredth change of it; this one keeps the differences, once a night."""

    directory = "13-state-compressor"

    def __init__(self, installation: Installation, place: Place, options: StateCompressorOptions, database: Database) -> None:
        super().__init__(installation, "state-compressor", place)
        request = {
            "database": {"host": database.host, "port": database.port, "dbname": database.name, "user": database.user},
            "password_file": f"{_PASSWORD}/password",
            "authority_file": f"{_AUTHORITY}/ca.crt",
            "chunk_size": options.chunk_size,
            "chunks": options.chunks,
            "levels": LEVELS,
            "minutes": MINUTES,
        }
        mounts = (
            Mount(SecretFiles(database.password_secret, items=(("password", "password"),)), _PASSWORD),
            Mount(SecretFiles(database.authority_secret, items=(("ca.crt", "ca.crt"),)), _AUTHORITY),
        )
        resources = Resources(millicores(50), mib(64), mib(512))
        container = program(self, "state_compressor", "compress", json.dumps(request, indent=2) + "\n", resources, mounts)
        pod = PodSpec(containers=(evolve(container, image=image("state-compressor")),), restart_policy="Never")
        self.cron_job("cronjob.yaml", self.name, pod, part=self.name, schedule=_NIGHTLY)
        self.connect(self.pods, database.endpoint)
