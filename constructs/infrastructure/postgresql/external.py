"""PostgreSQL that others run: who logs in there, and a Job that says what it lacks."""

import json

from infrastructure.postgresql.component import Database
from infrastructure.postgresql.options import POSTGRESQL, ExternalPostgresqlOptions
from infrastructure.programs import program
from kit.component import Component
from kit.installation import Installation
from kit.network import External
from kit.place import Place
from kit.pods import Mount, PodSpec, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Composed, Form, Given, Recipe, SecretSpec

_SECRETS, _AUTHORITY = "/secrets", "/secrets/database-ca"
BESIDE = 5
"""Connections of what runs now and then: the sweep of media, this Job, a person with psql."""


class ExternalPostgresql(Component):
    """Deploys nothing that stays: it says what its clients must know, and which passwords the operator of the site has to give."""

    directory = "01-postgresql"
    config_directory = "postgresql"

    def __init__(self, installation: Installation, place: Place, options: ExternalPostgresqlOptions) -> None:
        super().__init__(installation, "external-postgresql", place)
        self._options = options
        self._clients: list[tuple[Database, tuple[str, ...]]] = []
        self.sql = External(POSTGRESQL, (options.port,), options.cidrs)
        restart = "Restart all of Synapse, and the CronJob's next run has it."
        self.database = self._add(self.name, options.database, options.user, restart)

    def authentication_service(self) -> Database:
        """The database of the Matrix Authentication Service."""
        options, name = self._options, f"{self.name}-authentication-service"
        # Searching for people by a part of their name (crates/storage-pg/migrations, pg_trgm).
        restart = "Restart `matrix-authentication-service`."
        return self._add(name, options.authentication_database, options.authentication_user, restart, ("pg_trgm",))

    def _add(self, secret: str, database: str, user: str, restart: str, extensions: tuple[str, ...] = ()) -> Database:
        options = self._options
        keys: dict[str, Recipe] = {
            "password": Given(f"Password of the user {user} of the PostgreSQL of postgresql.external", Form.PLAIN),
            "pgpass": Composed(f"{options.host}:{options.port}:{database}:{user}:{{password}}\n"),
        }
        change = Change("Open connections stay; new ones with another password than the server knows are refused.", restart)
        self.secret(SecretSpec(secret, self.namespace, keys), {"password": change})
        found = Database(self.sql, options.host, database, user, secret, options.ca_secret, self.namespace)
        self._clients.append((found, extensions))
        return found

    def check(self, connections: int) -> None:
        """A Job that says what the server lacks for all of them, who together open so many connections."""
        options = self._options
        clients = [
            {
                "database": one.name,
                "user": one.user,
                "password_file": f"{_SECRETS}/{one.password_secret}/pgpass",
                "locale_c": one is self.database,
                "extensions": extensions,
            }
            for one, extensions in self._clients
        ]
        asked = {
            "host": options.host,
            "port": options.port,
            "authority": f"{_AUTHORITY}/ca.crt",
            "connections": connections + BESIDE,
            "clients": clients,
        }
        mounts = [Mount(SecretFiles(options.ca_secret, items=(("ca.crt", "ca.crt"),)), _AUTHORITY)]
        mounts += [
            Mount(SecretFiles(one.password_secret, items=(("pgpass", "pgpass"),)), f"{_SECRETS}/{one.password_secret}")
            for one, _ in self._clients
        ]
        resources = Resources(millicores(10), mib(48), mib(128))
        container = program(self, "database_check", "check", json.dumps(asked, indent=2) + "\n", resources, tuple(mounts))
        pod = PodSpec(containers=(container,), restart_policy="OnFailure")
        job = self.job("database-check.yaml", f"{self.name}-check", pod, part="check", backoff_limit=20)
        self.connect(job.pods, self.sql)
