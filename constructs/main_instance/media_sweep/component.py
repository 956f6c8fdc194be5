"""What removes from the bucket the media that the homeserver has deleted."""

import json

from attrs import evolve, frozen

from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql.component import Database
from infrastructure.programs import program
from kit.component import Component
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Mount, PodSpec, SecretFiles
from kit.quantities import Resources, mib, millicores
from main_instance.synapse.options import MediaOptions

METRICS = Port("metrics", 8080)
MINIMUM_AGE_HOURS = 24
"""An upload is in the bucket before it is in the database: what is younger is left alone."""
MOST_PERCENT = 50
"""If more than this would go, something else is wrong, such as a database that was brought back empty."""
_NIGHTLY = "23 2 * * *"
_CREDENTIALS, _PASSWORD, _AUTHORITY, _STORAGE_AUTHORITY = "/secrets/media", "/secrets/database", "/secrets/database-ca", "/secrets/media-ca"


@frozen
class SweepSpec:
    """`bucket` as the user sees it who may list and delete and nothing else; `database` is the homeserver's, on its primary."""

    bucket: Bucket
    database: Database
    options: MediaOptions


class MediaSweep(Component):
    """Synapse and its module for S3 never delete from the bucket: a program does, once a night, by what the database knows."""

    directory = "11-media-sweep"

    def __init__(self, installation: Installation, place: Place, spec: SweepSpec) -> None:
        super().__init__(installation, "media-sweep", place)
        bucket, database = spec.bucket, spec.database
        request = {
            "bucket": bucket.name,
            "endpoint": bucket.endpoint,
            "region": bucket.region,
            "database": {
                "host": database.host,
                "port": database.port,
                "dbname": database.name,
                "user": database.user,
                "sslmode": "verify-full",
                "sslrootcert": f"{_AUTHORITY}/ca.crt",
            },
            "password_file": f"{_PASSWORD}/pgpass",
            "minimum_age_hours": MINIMUM_AGE_HOURS,
            "most_percent": MOST_PERCENT,
            "dry_run": spec.options.removal_dry_run,
            "keep_versions": spec.options.keep_removed_days is not None,
            "metrics_port": METRICS.number,
            # Two scrapes.
            "linger_seconds": 75,
        }
        mounts = [
            Mount(SecretFiles(bucket.credentials.secret, items=((bucket.credentials.shared_file, "credentials"),)), _CREDENTIALS),
            Mount(SecretFiles(database.password_secret, items=(("pgpass", "pgpass"),)), _PASSWORD),
            Mount(SecretFiles(database.authority_secret, items=(("ca.crt", "ca.crt"),)), _AUTHORITY),
        ]
        env = {"AWS_SHARED_CREDENTIALS_FILE": f"{_CREDENTIALS}/credentials"}
        if bucket.authority:
            mounts.append(Mount(SecretFiles(bucket.authority.secret, items=((bucket.authority.key, "ca.crt"),)), _STORAGE_AUTHORITY))
            env["AWS_CA_BUNDLE"] = f"{_STORAGE_AUTHORITY}/ca.crt"
        resources = Resources(millicores(50), mib(128), mib(512))
        container = program(self, "media_sweep", "sweep", json.dumps(request, indent=2) + "\n", resources, tuple(mounts))
        container = evolve(container, ports=(METRICS,), env={**container.env, **env})
        pod = PodSpec(containers=(container,), restart_policy="Never")
        self.cron_job("cronjob.yaml", self.name, pod, part=self.name, schedule=_NIGHTLY)
        self.connect(self.pods, database.endpoint, bucket.peer)
        self.offers_metrics(self.pods, METRICS, series=100)
