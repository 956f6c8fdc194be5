"""Synapse's own parser reads the files of every process as they are rendered, for every size, and refuses them when they are wrong."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.network import Port
from kit.options import Settings
from kit.quantities import mib
from main_instance.application_services.options import ApplicationServiceOptions
from main_instance.login.options import ImportedClaims, LdapOptions, LoginOptions, ProviderOptions
from main_instance.mail.options import MailOptions, MailTls
from main_instance.synapse.configuration import (
    CLIENT_PORT,
    HEALTH_PORT,
    METRICS_PORT,
    REPLICATION_PORT,
    HomeserverSpec,
)
from main_instance.synapse.options import (
    Encryption,
    FederationOptions,
    HomeserverOptions,
    MediaOptions,
    PasswordPolicy,
    RateLimit,
    RateLimitOptions,
    RegistrationOptions,
    ServerNotices,
)
from main_instance.synapse.worker_type import Duty, Scaling
from main_instance.synapse.workers import MAIN, MAS_HELPER, WORKER_TYPES
from overlays import Profile, profiles
from tests.kustomize import ROOT
from tests.live.processes import LOOPBACK, free_ports
from tests.live.synapse_site import SynapseFiles, counts_of, homeserver_spec, service, synapse_python, write_files
from tests.routing import DELEGATED as DELEGATED_TYPES

pytestmark = pytest.mark.live

ONES = {worker.name: 1 for worker in WORKER_TYPES}
DELEGATED = {worker.name: 1 for worker in DELEGATED_TYPES}
TYPE_OF = {f"{worker.name}-{ordinal}": worker for worker in (*WORKER_TYPES, MAS_HELPER) for ordinal in range(100)}

# A duty that Synapse's parser does not turn into a yes or no: the media repository compares names when it starts.
NOT_ANSWERED = Duty.MEDIA_BACKGROUND_JOBS


class Reader:
    """Synapse's parser, in a process of its own for as long as the tests of this file run."""

    def __init__(self, process: subprocess.Popen[str], messages: Path) -> None:
        self._process = process
        self._messages = messages

    def __call__(self, files: SynapseFiles, processes: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What Synapse makes of the files of these processes."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({name: files.arguments(name) for name in processes}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the reader ended: {self._messages.read_text()[-2000:]}"
        answers: dict[str, dict[str, Any]] = json.loads(line)
        return answers


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    command = [synapse_python(), str(Path(__file__).with_name("synapse_config_reader.py"))]
    messages = tmp_path_factory.mktemp("reader") / "stderr"
    with (
        messages.open("w") as stderr,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            yield Reader(process, messages)
        finally:
            process.kill()


def one_of_each(files: SynapseFiles) -> list[str]:
    """Main, and of every type the first and the last instance; of an elastic type, which no file names, the last alone."""
    names = [MAIN]
    for worker in WORKER_TYPES:
        instances = files.topology.instances[worker.name]
        names += instances[-1:] if worker.scaling is Scaling.ELASTIC else dict.fromkeys((instances[0], instances[-1]))
    return names


def check_command(files: SynapseFiles, process: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m synapse.config`, which an operator would run."""
    command = [synapse_python(), "-m", "synapse.config", *files.arguments(process)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_understood(files: SynapseFiles, answers: dict[str, dict[str, Any]]) -> None:
    """Every process knows who it is, what it writes and does, whom it may call, and where it listens."""
    site = files.topology
    for name, answer in answers.items():
        assert "error" not in answer, f"{name}: {answer['error']}"
        assert answer["calls_servers"] == name.startswith("federation-sender-")
        if name == MAIN:
            assert answer["name"] == "master"
            assert answer["ports"] == [CLIENT_PORT, HEALTH_PORT, METRICS_PORT, REPLICATION_PORT]
            # No worker is for the experimental subscriptions to threads.
            assert answer["writes"] == ["thread_subscriptions", "quarantined_media_changes"]
            assert answer["duties"] == []
            continue
        worker = TYPE_OF[name]
        assert answer["name"] == name
        expected = (
            {HEALTH_PORT, METRICS_PORT}
            | ({REPLICATION_PORT} if worker.replicates else set())
            | ({CLIENT_PORT} if worker.listeners else set())
        )
        assert set(answer["ports"]) <= expected
        assert set(answer["instance_map"]) == {"master", *site.replicating}
        assert answer["writes"] == [stream.value for stream in worker.writes]
        assert answer["duties"] == [duty.value for duty in worker.duties if duty is not NOT_ANSWERED]
        assert answer["media"] == bool(worker.settings.get("enable_media_repo"))


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_every_process_of_a_profile_understands_its_part(read: Reader, profile: Profile, tmp_path: Path) -> None:
    files = write_files(tmp_path, homeserver_spec(tmp_path), counts_of(profile))
    assert_understood(files, read(files, one_of_each(files)))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.fixed_dictionaries(
        {worker.name: st.just(1) if worker.scaling is Scaling.SINGLE else st.integers(min_value=1, max_value=9) for worker in WORKER_TYPES}
    )
)
def test_every_process_understands_its_part_whatever_the_numbers(read: Reader, counts: dict[str, int], tmp_path: Path) -> None:
    files = write_files(tmp_path, homeserver_spec(tmp_path), counts)
    assert_understood(files, read(files, one_of_each(files)))


PROVIDER = ProviderOptions(
    issuer="https://id.example.org",
    client_id="matrix",
    claims=ImportedClaims(localpart="https://example.org/name"),
    required_claims=(("groups", ("staff", "board")),),
    extra=Settings('{"pkce_method": "always"}'),
)
DIRECTORY = LdapOptions(
    servers=("ldap://ldap.example.org",),
    start_tls=True,
    cidrs=("192.0.2.7/32",),
    base="dc=example",
    bind_dn="cn=matrix",
    filter="(a=b)",
    active_directory=True,
    default_domain="example.org",
)
BRIDGE = ApplicationServiceOptions(
    url="http://telegram:29317", bot="telegrambot", users=("telegram_.*",), aliases=("telegram_.*",), ephemeral=True
)
PARTNERS = FederationOptions(allowed_domains=("partner.example",))
PRIVATE = FederationOptions(internet=False, networks=("10.20.0.0/16",), ca_secret="partners", key_servers=("keys.example",))
MAIL = MailOptions(server="smtp.example.org:465", tls=MailTls.TLS, sender="Matrix <matrix@example.org>", user="matrix")
SITES: dict[str, Callable[[HomeserverSpec], HomeserverSpec]] = {
    "federation": lambda spec: evolve(spec, federation=FederationOptions()),
    "partners": lambda spec: evolve(spec, federation=PARTNERS),
    "private federation": lambda spec: evolve(spec, federation=PRIVATE),
    "mail": lambda spec: evolve(spec, mail=MAIL, client="https://element.example.org"),
    "turn": lambda spec: evolve(spec, turn=("turn:turn.example.org?transport=udp",)),
    "calls": lambda spec: evolve(spec, calls_host="rtc.example.org"),
    "previews": lambda spec: evolve(spec, options=HomeserverOptions(url_previews=True), reachable_networks=("10.96.0.0/12",)),
    "retention": lambda spec: evolve(
        spec,
        options=HomeserverOptions(message_lifetime="365d", redaction_retention="30d", presence=False),
        size=evolve(spec.size, cache_factor=2.5),
    ),
    "users": lambda spec: evolve(spec, options=HomeserverOptions(search_all_users=False, push_message_content=True)),
    "registration": lambda spec: evolve(spec, registration=RegistrationOptions(enabled=True)),
    "uploads": lambda spec: evolve(spec, media=MediaOptions(max_upload_size=mib(5))),
    "old media": lambda spec: evolve(spec, media=MediaOptions(local_lifetime="1y", remote_lifetime="90d")),
    "own options": lambda spec: evolve(
        spec,
        options=HomeserverOptions(
            encryption=Encryption.INVITE,
            auto_join_rooms=("#all:example.org",),
            password_policy=PasswordPolicy(minimum_length=12, digit=True, symbol=True, lower_case=True, upper_case=True),
            server_notices=ServerNotices(),
            rate_limits=RateLimitOptions(messages=RateLimit(per_second=0.5, burst=20), failed_logins=RateLimit(per_second=0.1, burst=3)),
            extra=Settings(json.dumps({"max_avatar_size": "10M", "experimental_features": {"msc3814_enabled": True}})),
        ),
    ),
    "providers": lambda spec: evolve(spec, login=LoginOptions(passwords=False, ca_secret="ca", providers=(("corporate", PROVIDER),))),
    "directory": lambda spec: evolve(spec, login=LoginOptions(passwords=False, ca_secret="ca", ldap=DIRECTORY)),
    "bridges": lambda spec: evolve(spec, application_services=(("telegram", BRIDGE),)),
}


# The processes that a site's choices make a difference to.
AFFECTED = (MAIN, "media-repository-0", "client-reader-0", "federation-reader-0", "federation-sender-0", "pusher-0")


@pytest.mark.parametrize("change", SITES.values(), ids=SITES)
def test_every_choice_of_a_site_is_understood(read: Reader, change: Callable[[HomeserverSpec], HomeserverSpec], tmp_path: Path) -> None:
    files = write_files(tmp_path, change(homeserver_spec(tmp_path)), ONES)
    assert_understood(files, read(files, AFFECTED))


def with_authentication_service(spec: HomeserverSpec) -> HomeserverSpec:
    return evolve(
        spec, authentication=service("matrix-authentication-service", Port("http", 8080)), mail=MAIL, client="https://e.example.org"
    )


def test_every_process_understands_that_another_service_logs_people_in(read: Reader, tmp_path: Path) -> None:
    files = write_files(tmp_path, with_authentication_service(homeserver_spec(tmp_path)), DELEGATED)
    answers = read(files, files.by_process)
    assert len(answers) == 23
    assert_understood(files, answers)


# synapse/config/mas.py refuses each of these beside the service: were one left on, nothing would start.
LOGINS_OF_ITS_OWN: dict[str, tuple[dict[str, Any], str]] = {
    "passwords": ({"password_config": {"enabled": True}}, "Password auth cannot be enabled"),
    "registration": ({"enable_registration": True, "registration_requires_token": True}, "Registration cannot be enabled"),
    "changes of addresses": ({"enable_3pid_changes": True}, "enable_3pid_changes cannot be enabled"),
    "a secret in the file": ({"matrix_authentication_service": {"secret": "x", "secret_path": None}}, "in-line secret"),
    "no secret": ({"matrix_authentication_service": {"secret_path": None}}, "Could not validate Matrix Authentication Service"),
    "QR codes without the service": (
        {"matrix_authentication_service": {"enabled": False}},
        "MSC4108 requires matrix_authentication_service",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), LOGINS_OF_ITS_OWN.values(), ids=LOGINS_OF_ITS_OWN)
def test_a_login_of_synapses_own_beside_the_service_is_refused(read: Reader, changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    files = write_files(tmp_path, with_authentication_service(homeserver_spec(tmp_path)), DELEGATED)
    spoil(files, "homeserver.yaml", changes)
    answer = read(files, ["mas-helper-0"])["mas-helper-0"]
    assert reason in answer.get("error", ""), answer


@pytest.mark.parametrize(
    ("federation", "expected"),
    [(None, False), (FederationOptions(), True), (PARTNERS, False)],
    ids=["off", "on", "partners"],
)
def test_synapse_itself_knows_whether_it_talks_to_any_server(
    read: Reader, federation: FederationOptions | None, expected: bool, tmp_path: Path
) -> None:
    files = write_files(tmp_path, evolve(homeserver_spec(tmp_path), federation=federation), ONES)
    assert {answer["federates"] for answer in read(files, AFFECTED).values()} == {expected}


def test_the_command_that_an_operator_would_run_agrees(tmp_path: Path) -> None:
    files = write_files(tmp_path, homeserver_spec(tmp_path), ONES)
    for process in (MAIN, "media-repository-0"):
        done = check_command(files, process)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Config parses OK!"), done.stderr
    spoil(files, "shards.yaml", {"stream_writers": {"typing": ["typing-persister-0", "encryption-0"]}})
    done = check_command(files, MAIN)
    assert done.returncode == 1
    assert "Must only specify one instance to handle `typing` messages." in done.stderr


def test_lis_start_asks_the_database_that_is_rendered(tmp_path: Path) -> None:
    (unused,) = free_ports(1)
    files = write_files(tmp_path, homeserver_spec(tmp_path), ONES)
    arguments = yaml.safe_load((files.folder / "main.yaml").read_text())["database"]["args"]
    spoil(files, "main.yaml", {"database": {"args": arguments | {"host": LOOPBACK, "port": unused}}})
    command: list[str | Path] = [synapse_python(), ROOT / "services" / "li_sync" / "synapse_start.py", MAIN, *files.arguments(MAIN)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as start:
        try:
            assert start.stderr
            assert start.stderr.readline() == "LI's database is not prepared yet: OperationalError\n"
        finally:
            start.kill()


def spoil(files: SynapseFiles, name: str, changes: dict[str, Any]) -> None:
    """Change options of one of the files; what is a section in both is merged."""
    path = files.folder / name
    config = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) and key in config else value
    path.write_text(yaml.safe_dump(config))


MISTAKES = {
    "two writers of typing": (
        "shards.yaml",
        {"stream_writers": {"typing": ["typing-persister-0", "encryption-0"]}},
        "one instance to handle `typing`",
    ),
    "no writer of events": ("shards.yaml", {"stream_writers": {"events": []}}, "at least one instance to handle `events`"),
    "a writer without an address": (
        "shards.yaml",
        {"instance_map": {}, "stream_writers": {"receipts": ["receipts-7"]}},
        "'receipts-7' is configured",
    ),
    "a stream that does not exist": ("shards.yaml", {"stream_writers": {"polls": ["receipts-0"]}}, "unexpected keyword argument 'polls'"),
    "a secret in the file": ("homeserver.yaml", {"macaroon_secret_key": "x"}, "in-line secret"),
    "a password in the file": ("homeserver.yaml", {"redis": {"password": "x"}}, "in-line secret"),
    "a secret file that is missing": ("homeserver.yaml", {"form_secret_path": "/nowhere"}, "/nowhere"),
    "replication as it was configured long ago": ("shards.yaml", {"worker_replication_host": "main"}, "worker_replication_host"),
}


@pytest.mark.parametrize(("file", "changes", "reason"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused(read: Reader, file: str, changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    files = write_files(tmp_path, homeserver_spec(tmp_path), ONES)
    spoil(files, file, changes)
    answer = read(files, ["client-reader-0"])["client-reader-0"]
    assert reason in answer.get("error", ""), answer


def test_a_worker_without_mains_address_is_refused(read: Reader, tmp_path: Path) -> None:
    files = write_files(tmp_path, homeserver_spec(tmp_path), ONES)
    shards = yaml.safe_load((files.folder / "shards.yaml").read_text())
    del shards["instance_map"]["main"]
    (files.folder / "shards.yaml").write_text(yaml.safe_dump(shards))
    assert "main" in read(files, ["receipts-0"])["receipts-0"]["error"]
