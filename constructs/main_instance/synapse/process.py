"""How a Synapse process starts: where its files are, its command and its environment."""

from attrs import frozen

from kit.quantities import Bytes, mib

HOMESERVER_FOLDER = "/etc/synapse/homeserver"
"""`homeserver.yaml` and `log.yaml`."""
SHARDS_FOLDER = "/etc/synapse/shards"
"""`shards.yaml`, which main alone mounts."""
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
MODULES_FOLDER = "/secrets/modules"
"""A folder for each Secret that a module reads."""
EXTRA = "/secrets/extra/extra.yaml"
"""Options of the site's own with secrets in them, where it has such: read last."""
LOGIN_FOLDER = "/secrets/login"
"""A folder for each Secret of an identity provider, and of the directory."""
APPLICATION_SERVICES_FOLDER = "/secrets/application-services"
"""A folder for each Secret with a registration."""
SCAN_WORKER_TOKEN = "/secrets/scan-worker/token"
ANTIVIRUS_ADMINISTRATOR = "/secrets/antivirus-administrator/token"
DEPOSIT_TOKEN = "/secrets/key-vault/intake_token"
FINGERPRINT_KEY = "/secrets/key-deposit/fingerprint_key"
AUTHORITY_KEYS = "/secrets/key-vault-authority/authority.pem"
"""What main seals and sends recovery keys with, where a site lets clients deposit them."""
RUN_FOLDER = "/run/synapse"
"""In memory and writable: what a process makes for itself as it starts."""
PASSWORD_FILE = f"{RUN_FOLDER}/pgpass"
AUTHORITIES = f"{RUN_FOLDER}/authorities.crt"
TRUST = {"SSL_CERT_FILE": AUTHORITIES, "SSL_CERT_DIR": "/etc/ssl/certs"}
"""Environment: OpenSSL reads both, the image's public authorities being in the folder."""
DATABASE_AUTHORITY = "/secrets/database-ca/ca.crt"
FEDERATION_AUTHORITY = "/secrets/federation-ca/ca.crt"
MAIL_FOLDER = "/secrets/mail"
"""`mail.yaml`: the section `email` with its password, for the processes that send mail."""
AUTHORITIES_FOLDER = "/secrets/authorities"
"""A folder for each Secret with authorities that a process trusts beside the public ones."""
MEDIA_CACHE = "/media"
MEDIA_CREDENTIALS = "/secrets/media/credentials"
"""An AWS shared credentials file: `[default]`, `aws_access_key_id = ...`, `aws_secret_access_key = ...`."""

# As the image's own entry point does, which this command passes by (docker/start.py): jemalloc loses less memory to fragments.
ENVIRONMENT = {"LD_PRELOAD": "libjemalloc.so.2"}
"""Beside POD_NAME, for every process."""

TURN_SECRET = "/secrets/turn/shared_secret"

_OWN_PASSWORD_FILE = f"install -m 600 {PASSWORD_FILE_SOURCE} {PASSWORD_FILE}"
HEALTH_PORT = 8080
"""`/health` and nothing else: a probe never waits behind requests of users."""
ALIVE_PORT = 8082
"""Where the program that starts Synapse says that it lives, also while Synapse does not serve yet, or not any more."""
START_PROGRAM = "synapse_start"
"""The program of `services/` that waits until a process can run, and then becomes Synapse."""
START_SECONDS = 600
"""How long Synapse itself may take to start: main migrates the database of an older version, and after a change of writers all start at once."""

# What the program writes (services/synapse_start).
_LIST_FILE, _NAME_FILE = f"{RUN_FOLDER}/shards.yaml", f"{RUN_FOLDER}/name.yaml"


@frozen
class Start:
    """`command` and `args` of the container."""

    command: tuple[str, ...]
    args: tuple[str, ...]


def start(*, worker: bool, listed: bool = False, mail: bool = False, authorities: bool = False, extra: bool = False) -> Start:
    """Start main or a worker, which may know the password of the mail server, trust further authorities, and read the file EXTRA.

    The environment gives POD_NAME, which is a worker's name.

    Main alone has the list of writers as a file, and puts it into force; workers, and those that must be `listed`, take it from there.
    """
    files = [f"{HOMESERVER_FOLDER}/homeserver.yaml", _LIST_FILE, f"{KIND_FOLDER}/kind.yaml"]
    if mail:
        files.append(f"{MAIL_FOLDER}/mail.yaml")
    if extra:
        files.append(EXTRA)
    if worker:
        files.append(_NAME_FILE)
    options = [f"--run={RUN_FOLDER}", f"--password-file={PASSWORD_FILE_SOURCE}", f"--health-port={HEALTH_PORT}"]
    options += [f"--alive-port={ALIVE_PORT}", f"--start-seconds={START_SECONDS}"]
    if not worker:
        options.append(f"--publish={SHARDS_FOLDER}/shards.yaml")
    if listed:
        options.append("--listed")
    if authorities:
        options.append(f"--authorities={AUTHORITIES_FOLDER}")
    module = "synapse.app.generic_worker" if worker else "synapse.app.homeserver"
    strict = () if extra else ("--no-secrets-in-config",)
    named = [word for path in files for word in ("-c", path)]
    return Start(("python", "-m", f"services.{START_PROGRAM}"), (*options, module, *strict, *named))


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
