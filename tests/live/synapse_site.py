"""A site's Synapse files on disk, as the pods would see them: for the tests that give them to Synapse itself."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from attrs import frozen

from infrastructure.object_storage.s3 import Bucket, Credentials
from infrastructure.postgresql.component import SQL, Database
from kit.network import Endpoint, External, Pods, Port
from kit.secrets import Fixed, SecretSpec
from main_instance.application_services import configuration as application_services
from main_instance.login import configuration as login
from main_instance.synapse.configuration import (
    MAIN_SECRETS,
    SHARED_SECRETS,
    Config,
    HomeserverSpec,
    Paths,
    homeserver_config,
    log_config,
    main_config,
    shard_config,
    worker_config,
)
from main_instance.synapse.fleet import fleet
from main_instance.synapse.topology import Topology, topology
from main_instance.synapse.workers import MAIN, WORKER_TYPES
from overlays import Profile, profiles
from tests.live.certificates import authority
from tests.live.programs import made
from tests.routing import DELEGATED

KEYS = Credentials(SecretSpec("media", "matrix", {"access-key": Fixed("media")}))
SYNAPSE_PYTHON = Path(__file__).parents[2] / ".venv-live" / "bin" / "python"


def synapse_python() -> str:
    """Find the Python that has Synapse; without one, skip the test and say why."""
    return made(SYNAPSE_PYTHON)


def homeserver_spec(folder: Path) -> HomeserverSpec:
    """A site whose files are in `folder`; nothing that it names has to run."""
    return HomeserverSpec(
        server_name="example.org",
        host="matrix.example.org",
        database=Database(service("main-rw", SQL), "main-rw", "synapse", "synapse", "main-app", "main-ca", "matrix"),
        redis=service("redis", Port("redis", 6379)),
        bucket=Bucket("media", "https://minio", "us-east-1", KEYS, External("object-storage", (443,))),
        size=profiles()[0].synapse,
        paths=Paths(
            secrets=f"{folder}/secrets",
            log_config=f"{folder}/log.yaml",
            database_password=f"{folder}/pgpass",
            database_authority=f"{folder}/ca.crt",
            redis_password=f"{folder}/secrets/redis_password",
            turn_secret=f"{folder}/secrets/turn",
            authentication_secret=f"{folder}/secrets/authentication",
            login=f"{folder}/login",
            authorities=f"{folder}/ca.crt",
            application_services=f"{folder}/application-services",
            federation_authority=f"{folder}/partners.crt",
            media_cache=f"{folder}/media",
        ),
    )


def service(host: str, port: Port) -> Endpoint:
    """A program that listens on `port` at a host."""
    return Endpoint(Pods(host, "matrix", ()), host, port.number, port)


def counts_of(profile: Profile) -> dict[str, int]:
    """How many instances of each worker type a profile has."""
    return fleet(profile.synapse.workers, WORKER_TYPES).counts


@frozen
class SynapseFiles:
    """The files of every process of one site."""

    folder: Path
    topology: Topology
    by_process: Mapping[str, tuple[Path, ...]]
    """Instance name, or `main`, to its files in the order in which Synapse reads them."""

    def arguments(self, process: str) -> list[str]:
        """The command line of one process after its module."""
        return ["--no-secrets-in-config", *(word for path in self.by_process[process] for word in ("-c", str(path)))]


def write_files(folder: Path, spec: HomeserverSpec, counts: Mapping[str, int]) -> SynapseFiles:
    """Write configuration, secrets and names of all processes below `folder`."""
    types = DELEGATED if spec.authentication else WORKER_TYPES
    site = topology(counts, types)
    secrets = folder / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    for name in (*SHARED_SECRETS, *MAIN_SECRETS, "redis_password", "turn", "authentication"):
        (secrets / name).write_text(f"not-so-secret-{name}")
    (secrets / "signing_key").write_text(f"ed25519 a_1 {base64.b64encode(os.urandom(32)).decode().rstrip('=')}\n")
    _write_given(folder, spec)
    _write(folder / "log.yaml", log_config())
    (folder / "partners.crt").write_text(authority("partners").certificate)
    shared = (_write(folder / "homeserver.yaml", homeserver_config(spec)), _write(folder / "shards.yaml", shard_config(site, _address)))
    files: dict[str, tuple[Path, ...]] = {MAIN: (*shared, _write(folder / "main.yaml", main_config(spec)))}
    for worker in types:
        own = _write(folder / f"{worker.name}.yaml", worker_config(worker, spec))
        for name in site.instances[worker.name]:
            files[name] = (*shared, own, _write(folder / f"name-{name}.yaml", {"worker_name": name}))
    return SynapseFiles(folder, site, files)


def _write_given(folder: Path, spec: HomeserverSpec) -> None:
    """What a site's operator gives, and the generator makes of it."""
    keys = [(login.secret_name(name), login.CLIENT_SECRET) for name, _ in spec.login.providers]
    keys += [(login.secret_name("ldap"), login.LDAP_PASSWORD)] if spec.login.ldap else []
    for secret, key in keys:
        (folder / "login" / secret).mkdir(parents=True)
        (folder / "login" / secret / key).write_text("not-so-secret")
    for name, of in spec.application_services:
        file = folder / "application-services" / application_services.secret_name(name) / application_services.REGISTRATION
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(application_services.registration(name, of, spec.server_name)))


def _address(instance: str) -> str:
    return f"{instance}.synapse.matrix.svc.cluster.local."


def _write(path: Path, config: Config) -> Path:
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
