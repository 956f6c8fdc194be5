"""The key vault: cases that two officers agree on, a log that nobody can change, and recovery keys that only the authority can open."""

from infrastructure.postgresql.component import Database
from kit.component import Component, Priority
from kit.images import image
from kit.installation import Installation
from kit.network import Port
from kit.place import Place
from kit.pods import Container, Mount, PodSpec, Probe, Scratch, SecretFiles
from kit.quantities import Resources, mib, millicores
from kit.secrets import Change, Form, Given, KeyRef, RandomText, Recipe, RsaPrivateKey, SecretSpec, Shared
from kit.text import yaml_text
from main_instance.key_vault.alerts import ALERTS
from main_instance.key_vault.configuration import (
    AUTHORITY,
    FOLDER,
    MIGRATION_SETTINGS,
    OWN_SECRETS,
    SECRETS_FOLDER,
    SETTINGS,
    KeyVaultSpec,
    migration_settings,
    settings,
)
from main_instance.synapse.configuration import Deposit

INTAKE, OFFICERS, ACCESS, METRICS = Port("intake", 8000), Port("officers", 8001), Port("access", 8002), Port("metrics", 8003)
REPLICAS = 2
AUTHORITY_SECRET, DEPOSIT_SECRET, READER_SECRET = "key-vault-authority", "key-deposit", "key-vault-reader"
_AUTHORITY_KEY = "authority.pem"

_TOGETHER = "Both ends refuse each other until both have the new one."
CHANGES = {
    "intake_token": Change(_TOGETHER, "Restart `key-vault` and `synapse`."),
    "proxy_token": Change(_TOGETHER, "Run the secret Job for the copy, then restart `key-vault` and `li-proxy`."),
    "access_token": Change(_TOGETHER, "Run the secret Job for the copy, then restart `key-vault` and `li-proxy`."),
    "secret_key": Change("Forms that are open in a browser are refused.", "Restart `key-vault`."),
    "signing_key": Change(
        "Archives that were exported before are verified with the old public key.", "Restart `key-vault`, and give the new public key out."
    ),
}
NEW_AUTHORITY = Change(
    "What was sealed before is opened with the authority's old private key.",
    "Put the new key first and leave the old one below it; restart `key-vault`, then `synapse`. Take the old one away after that.",
)
NEW_FINGERPRINT_KEY = Change("A key that was deposited before is taken for a new one.", "Restart `synapse`.")


class KeyVault(Component):
    """Each caller has a port of its own, so that policies can tell them apart: Synapse, the proxy of the other instance, Prometheus."""

    directory = "08-key-vault"
    noticed = "nothing: a new one is ready before an old one goes"
    priority = Priority.MESSAGING

    def __init__(self, installation: Installation, place: Place, spec: KeyVaultSpec) -> None:
        super().__init__(installation, "key-vault", place)
        keys: dict[str, Recipe] = {key: RsaPrivateKey() if key == "signing_key" else RandomText(64) for key in OWN_SECRETS}
        self.own = self.secret(SecretSpec(self.name, self.namespace, keys), CHANGES)
        authority = Given("The authority's RSA public key of 3072 bits or more, in PEM: docs/07-LI-OPERATIONS.md", Form.RSA_PUBLIC_KEY)
        self.secret(SecretSpec(AUTHORITY_SECRET, self.namespace, {_AUTHORITY_KEY: authority}), {_AUTHORITY_KEY: NEW_AUTHORITY})
        reader = KeyRef(spec.reader.namespace, spec.reader.password_secret, "password")
        self.secret(SecretSpec(READER_SECRET, self.namespace, {"password": Shared(reader)}))
        self._config = self.config(f"{self.name}-settings", {SETTINGS: yaml_text(settings(spec))})
        self._migrations(spec)
        self._server(spec)

    def _server(self, spec: KeyVaultSpec) -> None:
        files = SecretFiles(self.name, items=tuple((key, key) for key in OWN_SECRETS))
        container = Container(
            name="key-vault",
            image=image("key-vault"),
            command=("python", "-m", "services.key_vault", "serve"),
            ports=(INTAKE, OFFICERS, ACCESS, METRICS),
            env={
                "KEY_VAULT_SETTINGS": f"{FOLDER}/{SETTINGS}",
                # No certificate of the other cluster can be checked from here: see PostgresCluster.seen_from_elsewhere.
                "PGCHANNELBINDING": "require",
            },
            mounts=(
                Mount(self._config, FOLDER),
                Mount(files, SECRETS_FOLDER),
                Mount(SecretFiles(AUTHORITY_SECRET, items=((_AUTHORITY_KEY, _AUTHORITY_KEY),)), AUTHORITY.rpartition("/")[0]),
                *_database(spec.application),
                Mount(SecretFiles(READER_SECRET, items=(("password", "password"),)), "/secrets/synapse-database"),
                Mount(Scratch("tmp", mib(16)), "/tmp"),
            ),
            startup=Probe.http("/health/live", "metrics", period_seconds=2, failures=60),
            # It is ready when its tables are there and its role cannot change what they hold.
            readiness=Probe.http("/health/ready", "metrics", timeout_seconds=5),
            liveness=Probe.http("/health/live", "metrics", timeout_seconds=5),
            linger_seconds=5,
            resources=Resources(millicores(20), mib(96), mib(256)),
        )
        pod = PodSpec(containers=(container,))
        vault = self.deployment("deployment.yaml", self.name, pod, part="server", replicas=REPLICAS)
        ports = {port.name: port.number for port in (INTAKE, OFFICERS, ACCESS, METRICS)}
        service = self.service("service.yaml", self.name, vault, ports)
        self.intake, self.officers, self.access = (service.endpoint(port.name) for port in (INTAKE, OFFICERS, ACCESS))
        self.connect(vault.pods, spec.application.endpoint, spec.reader.endpoint)
        self.offers_metrics(vault.pods, METRICS, series=200)
        self.alerts(*ALERTS)

    def _migrations(self, spec: KeyVaultSpec) -> None:
        files = self.config(f"{self.name}-migration-settings", {MIGRATION_SETTINGS: yaml_text(migration_settings(spec))})
        container = Container(
            name="migrate",
            image=image("key-vault"),
            command=("python", "-m", "services.key_vault", "migrate"),
            env={"KEY_VAULT_SETTINGS": f"{FOLDER}/{MIGRATION_SETTINGS}"},
            mounts=(Mount(files, FOLDER), *_database(spec.owner), Mount(Scratch("tmp", mib(16)), "/tmp")),
            resources=Resources(millicores(20), mib(96), mib(256)),
        )
        pod = PodSpec(containers=(container,), restart_policy="OnFailure")
        job = self.job("migration-job.yaml", f"{self.name}-migrations", pod, part="migrations", backoff_limit=20)
        self.connect(job.pods, spec.owner.endpoint)

    def deposit(self, notice_url: str) -> Deposit:
        """How Synapse hands recovery keys in, which have to be sealed before they leave it."""
        keys = SecretSpec(DEPOSIT_SECRET, self.namespace, {"fingerprint_key": RandomText(64)})
        self.secret(keys, {"fingerprint_key": NEW_FINGERPRINT_KEY})
        authority = KeyRef(self.namespace, AUTHORITY_SECRET, _AUTHORITY_KEY)
        return Deposit(self.intake, notice_url, self.own.key("intake_token"), keys.key("fingerprint_key"), authority)


def _database(database: Database) -> tuple[Mount, Mount]:
    return (
        Mount(SecretFiles(database.password_secret, items=(("password", "password"),)), "/secrets/database"),
        Mount(SecretFiles(database.authority_secret, items=(("ca.crt", "ca.crt"),)), "/secrets/database-ca"),
    )
