"""How a Synapse process starts: where its files are, its command and its environment."""

from attrs import frozen

from kit.quantities import Bytes, mib

HOMESERVER_FOLDER = "/etc/synapse/homeserver"
"""`homeserver.yaml` and `log.yaml`."""
SHARDS_FOLDER = "/etc/synapse/shards"
"""`shards.yaml`."""
KIND_FOLDER = "/etc/synapse/kind"
"""`kind.yaml`: main's or the worker type's own file."""
SECRETS_FOLDER = "/secrets/synapse"
"""One file a secret, called like Synapse's option without `_path`."""
REDIS_PASSWORD = "/secrets/redis/password"
AUTHENTICATION_FOLDER = "/secrets/authentication-service"
AUTHENTICATION_SECRET = f"{AUTHENTICATION_FOLDER}/secret"
"""What Synapse and the Matrix Authentication Service know of each other, where a site has that service."""
PASSWORD_FILE_SOURCE = "/secrets/database/pgpass"
"""The database's password file as it comes from its Secret."""
MODULES_FOLDER = "/etc/synapse/modules"
"""`modules.yaml`: what media workers load, where a site has files scanned."""
SCAN_WORKER_TOKEN = "/secrets/scan-worker/token"
ANTIVIRUS_ADMINISTRATOR = "/secrets/antivirus-administrator/token"
DEPOSIT_TOKEN = "/secrets/key-vault/intake_token"
FINGERPRINT_KEY = "/secrets/key-deposit/fingerprint_key"
AUTHORITY_KEYS = "/secrets/key-vault-authority/authority.pem"
"""What main seals and sends recovery keys with, where a site lets clients deposit them."""
RUN_FOLDER = "/run/synapse"
"""In memory and writable: what a process makes for itself as it starts."""
PASSWORD_FILE = f"{RUN_FOLDER}/pgpass"
DATABASE_AUTHORITY = "/secrets/database-ca/ca.crt"
MEDIA_CACHE = "/media"
MEDIA_CREDENTIALS = "/secrets/media/credentials"
"""An AWS shared credentials file: `[default]`, `aws_access_key_id = ...`, `aws_secret_access_key = ...`."""

# As the image's own entry point does, which this command passes by (docker/start.py): jemalloc loses less memory to fragments.
ENVIRONMENT = {"LD_PRELOAD": "libjemalloc.so.2"}
"""Beside POD_NAME, for every process."""

TURN_SECRET = "/secrets/turn/shared_secret"

_NAME_FILE = f"{RUN_FOLDER}/name.yaml"
_OWN_PASSWORD_FILE = f"install -m 600 {PASSWORD_FILE_SOURCE} {PASSWORD_FILE}"


@frozen
class Start:
    """`command` and `args` of the container."""

    command: tuple[str, ...]
    args: tuple[str, ...]


def start(*, worker: bool, modules: bool = False) -> Start:
    """Start main or a worker, which may load modules. The environment gives POD_NAME, which is a worker's name.

    Two things cannot be mounted as they must be. libpq ignores a password file that others may read, and a Secret's files are
    readable by the pod's group. And Synapse takes its name from a configuration file alone, which here is one line of each pod's own.
    The shell then becomes Synapse, so that signals reach it.
    """
    files = [f"{HOMESERVER_FOLDER}/homeserver.yaml", f"{SHARDS_FOLDER}/shards.yaml", f"{KIND_FOLDER}/kind.yaml"]
    if modules:
        files.append(f"{MODULES_FOLDER}/modules.yaml")
    lines = [_OWN_PASSWORD_FILE]
    if worker:
        lines.append(f'echo "worker_name: $POD_NAME" > {_NAME_FILE}')
        files.append(_NAME_FILE)
    module = "synapse.app.generic_worker" if worker else "synapse.app.homeserver"
    lines.append(f"exec python -m {module} --no-secrets-in-config {' '.join(f'-c {path}' for path in files)}")
    return Start(command=("/bin/sh", "-euc"), args=("\n".join(lines),))


def start_after(program: str, main_process: str) -> Start:
    """Start a homeserver of one process by a program that prepares its database and then becomes Synapse."""
    options = f"--no-secrets-in-config -c {HOMESERVER_FOLDER}/homeserver.yaml"
    return Start(command=("/bin/sh", "-euc"), args=(f"{_OWN_PASSWORD_FILE}\nexec python {program} {main_process} {options}",))


CACHE_KEEPER_LIVES = ("/bin/sh", "-c", f"find {MEDIA_CACHE}/.looked -mmin -10 | grep -q .")
"""Whether the cache was looked at in the last ten minutes."""


def keep_cache_small(limit: Bytes, *, folder: str = MEDIA_CACHE, pause_seconds: int = 60) -> Start:
    """What runs beside a media worker: Synapse never deletes what it has cached, and a full cache would have the pod evicted.

    Everything in the cache is in the bucket too, before an upload is answered, and is fetched from there when it is asked for again.
    Over `limit`, the oldest files go; those of the last minutes stay, which may be in use.
    """
    script = f"""
while :; do
    touch {folder}/.looked
    while [ "$(du -sm {folder} | cut -f 1)" -gt {limit.count // mib(1).count} ]; do
        oldest=$(find {folder} -type f -mmin +5 -printf '%T@ %p\\n' | sort -n | head -n 500 | cut -d ' ' -f 2-)
        [ -n "$oldest" ] || break
        printf '%s\\n' "$oldest" | xargs -d '\\n' rm -f --
    done
    sleep {pause_seconds} &
    wait $!
done
"""
    return Start(command=("/bin/sh", "-euc"), args=(f"trap 'exit 0' TERM\n{script.strip()}",))
