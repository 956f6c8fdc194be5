"""What another installation says becomes options; what cannot is named line by line; no secret gets into site.yaml or onto the screen."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.errors import UserError
from app.moving_in import take_over
from app.moving_in.given import read_given
from app.moving_in.taking import days, delay, size
from app.new_site import got, site_text
from app.settings import parse_site, read_site
from app.site import Site

REGISTRY = ("--registry", "registry.example.com/matrix")
MARK = "s3cr3t-"
"""Every secret of these files begins so."""

HOMESERVER = f"""\
server_name: example.org
public_baseurl: https://chat.example.org/
pid_file: /run/synapse.pid
listeners:
  - {{port: 8008, type: http, resources: [{{names: [client, federation]}}]}}
database: {{name: psycopg2, args: {{user: synapse, password: {MARK}database, host: db}}}}
macaroon_secret_key: {MARK}macaroon
form_secret: {MARK}form
registration_shared_secret: {MARK}registration
signing_key_path: /data/example.org.signing.key
worker_replication_secret: {MARK}replication
enable_registration: yes
registration_requires_token: true
presence: {{enabled: false, include_offline_users_on_sync: true}}
retention:
  enabled: true
  default_policy: {{min_lifetime: 1d, max_lifetime: 1y}}
  purge_jobs: [{{interval: 12h}}]
media_retention: {{local_media_lifetime: 90d, remote_media_lifetime: 36h}}
max_upload_size: 50M
redaction_retention_period: 28d
federation_domain_whitelist: [example.org, partner.example]
trusted_key_servers: [{{server_name: partner.example}}]
rc_message: {{per_second: 0.2, burst_count: 10}}
rc_login:
  address: {{per_second: 0.15, burst_count: 5}}
  account: {{per_second: 0.18}}
rc_joins:
  remote: {{per_second: 3, burst_count: 12}}
rc_registration: {{per_second: 0.5, burst_count: 2}}
user_directory: {{search_all_users: true, prefer_local_users: true}}
url_preview_enabled: true
encryption_enabled_by_default_for_room_type: all
auto_join_rooms: ["#hall:example.org"]
autocreate_auto_join_rooms: true
allow_guest_access: true
allow_public_rooms_over_federation: true
enable_metrics: true
email:
  smtp_host: mail.example.org
  smtp_port: 587
  smtp_user: matrix
  smtp_pass: {MARK}mail
  require_transport_security: true
  notif_from: "%(app)s <matrix@example.org>"
  app_name: Chat
  enable_notifs: true
  notif_delay_before_mail: 5m
  invite_client_location: https://app.example.org
password_config:
  pepper: {MARK}pepper
  policy: {{enabled: true, minimum_length: 12, require_digit: true}}
oidc_providers:
  - idp_id: corporate
    idp_name: Corporate
    issuer: https://id.example.org/
    client_id: matrix
    client_secret: {MARK}oidc
    scopes: [openid, profile]
    pkce_method: always
    user_mapping_provider:
      config: {{localpart_template: "{{{{ user.preferred_username }}}}", display_name_template: "{{{{ user.given }}}} {{{{ user.family }}}}"}}
    attribute_requirements: [{{attribute: groups, value: matrix}}]
modules:
  - {{module: synapse_auto_accept_invite.InviteAutoAccepter, config: {{accept_invites_only_for_direct_messages: true}}}}
  - {{module: ldap_auth_provider.LdapAuthProviderModule, config: {{bind_password: {MARK}ldap}}}}
app_service_config_files: [/bridges/telegram.yaml]
old_signing_keys:
  "ed25519:a_AbCd": {{key: Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw, expired_ts: 1769860800000}}
server_notices: {{system_mxid_localpart: hello, room_name: Notes, system_mxid_avatar_url: "mxc://example.org/abc"}}
turn_uris: ["turn:turn.example.org"]
turn_shared_secret: {MARK}turn
jwt_config: {{enabled: true, secret: {MARK}jwt, algorithm: HS256}}
recaptcha_private_key: {MARK}recaptcha
admin_contact: mailto:admin@example.org
stream_writers: {{events: worker1}}
"""


def write(folder: Path, text: str, name: str = "homeserver.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def moved(out: Path, *files: Path, code: int = 0) -> Result:
    """What `init` says of these files."""
    words = [word for file in files for word in ("--from", str(file))]
    result = CliRunner().invoke(main, ["init", "--out", str(out), *words, *REGISTRY])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, str, str]:
    """The site of HOMESERVER, its text, and what was said."""
    folder = tmp_path_factory.mktemp("moved")
    result = moved(folder / "site.yaml", write(folder, HOMESERVER))
    return read_site(folder / "site.yaml"), (folder / "site.yaml").read_text(), result.output


def test_what_has_an_option_is_that_option_now(whole: tuple[Site, str, str]) -> None:
    site, _, _ = whole
    assert (site.server_name, site.hosts.matrix) == ("example.org", "chat.example.org")
    assert (site.registration.enabled, site.features.federation, site.homeserver.presence) == (True, True, False)
    assert (site.homeserver.message_lifetime, site.homeserver.redaction_retention) == ("365d", "28d")
    assert (site.media.local_lifetime, str(site.media.max_upload_size)) == ("90d", "50Mi")
    assert (site.federation.allowed_domains, site.federation.key_servers) == (("example.org", "partner.example"), ("partner.example",))
    limits = site.homeserver.rate_limits
    assert limits.messages
    assert (limits.messages.per_second, limits.messages.burst) == (0.2, 10)
    assert (limits.logins_per_account, limits.joins) == (None, None)
    assert (site.homeserver.search_all_users, site.homeserver.url_previews, site.homeserver.encryption) == (True, True, "all")
    assert site.homeserver.auto_join_rooms == ("#hall:example.org",)
    assert site.mail
    assert (site.mail.server, site.mail.sender, site.mail.user) == ("mail.example.org:587", "Chat <matrix@example.org>", "matrix")
    assert (site.mail.notifications, site.mail.notify_after) == (True, "300s")
    assert site.homeserver.password_policy
    assert (site.homeserver.password_policy.minimum_length, site.homeserver.password_policy.digit) == (12, True)
    ((name, provider),) = site.login.providers
    assert (name, provider.issuer, provider.display_name) == ("corporate", "https://id.example.org/", "Corporate")
    assert provider.scopes == ("openid", "profile")
    assert (provider.claims.localpart, provider.required_claims) == ("preferred_username", (("groups", ("matrix",)),))
    assert provider.extra.data == {"pkce_method": "always"}
    ((module, of),) = site.homeserver.modules
    assert (module, of.path) == ("invite-auto-accepter", "synapse_auto_accept_invite.InviteAutoAccepter")
    assert [str(key) for _, key in site.old_signing_keys] == ["Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw until 2026-01-31T12:00:00Z"]
    assert site.homeserver.server_notices
    assert (site.homeserver.server_notices.account, site.homeserver.server_notices.room_name) == ("hello", "Notes")
    assert site.homeserver.extra_secret


def test_what_has_none_is_passed_on_as_it_is_unless_the_platform_sets_it(whole: tuple[Site, str, str]) -> None:
    site, _, said = whole
    assert site.homeserver.extra.data == {
        "admin_contact": "mailto:admin@example.org",
        "allow_public_rooms_over_federation": True,
        "presence": {"include_offline_users_on_sync": True},
        "rc_registration": {"per_second": 0.5, "burst_count": 2},
        "retention": {"default_policy": {"min_lifetime": "1d"}, "purge_jobs": [{"interval": "12h"}]},
        "server_notices": {"system_mxid_avatar_url": "mxc://example.org/abc"},
        "turn_uris": ["turn:turn.example.org"],
        "user_directory": {"prefer_local_users": True},
    }
    assert "allow_guest_access: the platform's own: never: whoever is here has an account" in said
    assert "rc_joins.remote.per_second: not taken over: the platform sets" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("database", "not taken over: the platform runs PostgreSQL; the deployment guide moves what is in yours (Moving in)"),
        ("macaroon_secret_key", "a secret: put it into the Secret synapse, as macaroon_secret_key"),
        ("signing_key_path", "a secret: put it into the Secret synapse, as signing_key"),
        ("worker_replication_secret", "the platform's own: made anew"),
        ("media_retention.remote_media_lifetime", "not taken over: media.remote_lifetime has whole days"),
        ("rc_login.account", "not taken over: homeserver.rate_limits.logins_per_account needs both per_second and burst_count"),
        ("email.smtp_pass", "a secret: put it into the Secret mail, as password"),
        ("email.invite_client_location", "not taken over: there is no option for it"),
        ("password_config.pepper", "has a secret: put the whole section into extra.yaml of the Secret synapse-extra"),
        ("oidc_providers.[0].client_secret", "a secret: put it into the Secret login-corporate, as client_secret"),
        ("oidc_providers.[0].display_name_template", "not taken over: only a single claim can be named here"),
        ("modules.[1]", "a directory: write the section login.ldap"),
        ("app_service_config_files.[0]", "not taken over: give that registration with --from as well (telegram.yaml)"),
        ("turn_shared_secret", "has a secret: put the whole section into extra.yaml"),
        ("jwt_config", "has a secret: put the whole section into extra.yaml"),
        ("recaptcha_private_key", "has a secret: put the whole section into extra.yaml"),
        ("stream_writers", "the platform's own: the profile"),
    ],
)
def test_what_is_left_is_said_with_its_line_and_what_to_do_and_stands_in_the_file_too(
    line: str, said: str, whole: tuple[Site, str, str]
) -> None:
    _, text, output = whole
    number = next(n for n, words in enumerate(HOMESERVER.splitlines(), 1) if words.startswith(f"{line.partition('.')[0]}:"))
    (found,) = [words for words in output.splitlines() if f"homeserver.yaml:{number}: {line}: {said}" in words]
    assert f"# {found}" in text


def test_no_secret_is_in_the_site_or_on_the_screen(whole: tuple[Site, str, str]) -> None:
    _, text, output = whole
    assert HOMESERVER.count(MARK) > 10
    assert MARK not in text
    assert MARK not in output


def test_a_registration_a_worker_and_a_second_file_of_synapse_are_read_too(tmp_path: Path) -> None:
    registration = f'id: Telegram Bridge\nurl: "http://bridge.bridges.svc:29317/"\nas_token: {MARK}as\nhs_token: {MARK}hs\n'
    worker = f"worker_app: synapse.app.generic_worker\nworker_name: worker1\nworker_replication_secret: {MARK}r\nworker_listeners: []\n"
    files = [
        write(tmp_path, "presence: {enabled: false}\nreport_stats: true\n", "conf.yaml"),
        write(tmp_path, "server_name: example.org\nlisteners: [{resources: [{names: [client]}]}]\npresence: {enabled: true}\n"),
        write(tmp_path, registration, "telegram.yaml"),
        write(tmp_path, worker, "worker1.yaml"),
    ]
    taken = take_over(files)
    site = parse_site(site_text({**taken.tree, "images": {"registry": "registry.example.com"}}))
    ((name, of),) = site.application_services
    assert (name, of.url, of.given, site.homeserver.presence, site.features.federation) == (
        "telegram-bridge",
        "http://bridge.bridges.svc:29317",
        True,
        False,
        False,
    )
    said = "\n".join(map(str, taken.notes))
    assert "telegram.yaml:3: as_token: a secret: put it into the Secret application-service-telegram-bridge, as registration.yaml" in said
    assert "worker1.yaml:1: worker_app: the platform's own: the worker types" in said
    assert MARK not in said + site_text(taken.tree)


def test_a_folder_is_read_as_synapse_reads_it(tmp_path: Path) -> None:
    write(tmp_path, "server_name: example.org\n", "a.yaml")
    write(tmp_path, "max_upload_size: 10M\n", "b.yaml")
    write(tmp_path, "not yaml: [", "c.txt")
    assert got(take_over([tmp_path]).tree, "media.max_upload_size") == "10Mi"


@pytest.mark.parametrize(
    ("text", "federates"),
    [
        ("", True),
        ("listeners: [{type: metrics, port: 9000}]\n", True),
        ("listeners: [{resources: [{names: [client]}]}]\n", False),
        ("federation_domain_whitelist: []\n", False),
        ("federation_domain_whitelist: [a.example]\n", True),
    ],
)
def test_federation_is_as_it_was(text: str, federates: bool, tmp_path: Path) -> None:
    taken = take_over([write(tmp_path, f"server_name: example.org\ntrusted_key_servers: [{{server_name: matrix.org}}]\n{text}")])
    assert (got(taken.tree, "features.federation") or False, "federation" in taken.tree) == (federates, federates)


# --- ess-helm

VALUES = f"""\
serverName: example.org
clusterDomain: k8s.example.
certManager: {{clusterIssuer: letsencrypt}}
ingress: {{className: nginx, annotations: {{example.com/a: b}}}}
image: {{pullSecrets: [{{name: credentials}}]}}
storage: {{storageClassName: fast}}
tolerations: []
elementWeb: {{ingress: {{host: chat.example.org}}}}
elementAdmin: {{ingress: {{host: admin.example.org}}}}
matrixAuthenticationService:
  ingress: {{host: account.example.org}}
  postgres: {{host: db, password: {{value: {MARK}mas}}}}
matrixRTC: {{ingress: {{host: mrtc.example.org}}}}
wellKnownDelegation: {{additional: {{client: '{{"org.example.key": {{"a": 1}}}}'}}}}
synapse:
  ingress: {{host: matrix.example.org}}
  media: {{maxUploadSize: 200M}}
  macaroon: {{value: {MARK}macaroon}}
  postgres: {{host: db, password: {{value: {MARK}database}}}}
  workers: {{synchrotron: {{enabled: true, replicas: 2}}}}
  appservices: [{{secret: bridges, secretKey: registration.yaml}}]
  additional:
    00-user.yaml:
      config: |
        presence: {{enabled: no}}
        push: {{jitter_delay: 10}}
        macaroon_secret_key: {MARK}again
    10-secret.yaml: {{configSecret: mine, configSecretKey: it}}
    20-broken.yaml: {{config: "a: ["}}
haproxy: {{replicas: 1}}
"""


def test_the_values_of_ess_helm_become_options(tmp_path: Path) -> None:
    taken = take_over([write(tmp_path, VALUES, "values.yaml")])
    site = parse_site(site_text({**taken.tree, "images": {**taken.tree["images"], "registry": "registry.example.com"}}))
    assert (site.server_name, site.hosts.element, site.hosts.auth, site.hosts.rtc) == (
        "example.org",
        "chat.example.org",
        "account.example.org",
        "mrtc.example.org",
    )
    assert (site.cluster.domain, site.storage_classes.default, site.images.pull_secrets) == ("k8s.example", "fast", ("credentials",))
    assert (site.tls.source, site.tls.cluster_issuer, site.ingress.class_name) == ("cluster-issuer", "letsencrypt", "nginx")
    assert (site.features.authentication_service, site.features.federation, site.features.calls) == (True, True, False)
    assert (str(site.media.max_upload_size), site.homeserver.presence) == ("200Mi", False)
    assert site.homeserver.extra.data == {"push": {"jitter_delay": 10}}
    assert site.well_known.client.data == {"org.example.key": {"a": 1}}
    said = "\n".join(map(str, taken.notes))
    for wanted in (
        "values.yaml:13: matrixRTC: not taken over: calls are off until you name nodes for them",
        "values.yaml:15: synapse.macaroon: a secret: put it into the Secret synapse, as macaroon_secret_key; as it was",
        "values.yaml:15: synapse.signingKey: a secret: put it into the Secret synapse, as signing_key; as it is in the Secret <release>-generated",
        "synapse.appservices[0]: not taken over: fetch that registration",
        "synapse.workers: the platform's own: the profile says",
        "synapse.additional.10-secret.yaml: not taken over: fetch it from its Secret, and give it with --from",
        "synapse.additional.20-broken.yaml: not taken over: ",
        "values.yaml, synapse.additional.00-user.yaml:15: macaroon_secret_key: a secret",
        "values.yaml:30: haproxy: the chart's own: not needed",
    ):
        assert wanted in said, f"{wanted}\n{said}"
    assert MARK not in said + site_text(taken.tree)


# --- hostile and broken

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]\n" for m, n in zip("abcd", "bcde", strict=True)
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty; give homeserver.yaml"),
        (b"# nothing\n", "is empty; give homeserver.yaml"),
        (b"- a\n- b\n", "is no mapping of options; give homeserver.yaml"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n3862\n", "is no mapping of options"),
        (b"\xff\xfe\x00s", "is no UTF-8; is it encrypted or packed?"),
        (b"PK\x03\x04\x00", "has characters that no YAML has; is it encrypted or packed?"),
        (f"server_name: a\nx: *{MARK}alias\n".encode(), "homeserver.yaml:2:4: is no YAML: look at the quotes"),
        (f"server_name: a\nx: !vault {MARK}tag\n".encode(), "homeserver.yaml:2:4: is no YAML"),
        (b"server_name: a\nx: !!python/object/apply:os.system [id]\n", "homeserver.yaml:2:4: is no YAML"),
        (b"server_name: {{ name }}\n", "has signs of a template ({{): render it first"),
        (b"server_name: a\n---\nserver_name: b\n", "a second document begins here"),
        (b"server_name: a\n\tx: y\n", "homeserver.yaml:2:1: is no YAML"),
        (b"server_name: a\nx: 2026-02-31\n", "has a date or number that does not exist"),
        (BOMB.encode(), "its anchors (&name, *name) become more than any configuration"),
        (b"server_name: a\nx: &x [*x]\n", "its anchors (&name, *name) become more than any configuration"),
        (b"server_name: a\nx: " + b"[" * 3000 + b"]" * 3000, "is nested deeper than any configuration"),
        (b"server_name: a\n" + b"#" * 600_000, "bytes, more than any configuration"),
        (b"apiVersion: v1\nkind: ConfigMap\ndata: {}\n", "is no file of Synapse and no values of ess-helm"),
        (b"sops: {}\nserver_name: ENC[AES256]\n", "in the clear"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_read_is_an_error_that_says_what_to_do_and_quotes_nothing(data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "homeserver.yaml"
    file.write_bytes(data)
    result = moved(tmp_path / "site.yaml", file, code=2)
    assert said in result.output, result.output
    assert MARK not in result.output
    assert not (tmp_path / "site.yaml").exists()


def test_a_file_or_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no such file"):
        read_given(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"is a folder without a \*.yaml"):
        read_given(tmp_path / "empty")


@pytest.mark.parametrize(
    "value",
    [
        "7",
        "[1]",
        "{a: b}",
        "text",
        "true",
        "[{a: {b: 1}}]",
        "{enabled: true, args: [1]}",
        "[[]]",
        "{config: 7}",
        "-1",
        "1e400",
        ".nan",
    ],
)
def test_no_form_of_any_option_ends_it_without_a_word(value: str, tmp_path: Path) -> None:
    """Each known option with a value of another form than its own: taken over or noted, never a traceback, and what is written is a site."""
    from app.documents.synapse_options import BY_DOOR, BY_OPTION, BY_SECRET, OF_THE_PLATFORM
    from app.moving_in.synapse import READERS

    names = sorted({*BY_DOOR, *BY_OPTION, *BY_SECRET, *OF_THE_PLATFORM, *READERS} - {"server_name"})
    text = "server_name: example.org\n" + "".join(f"{name}: {value}\n" for name in names)
    taken = take_over([write(tmp_path, text)])
    parse_site(site_text({**taken.tree, "images": {"registry": "registry.example.com"}}))
    values = "serverName: example.org\n" + "".join(
        f"{name}: {value}\n"
        for name in ("certManager", "ingress", "image", "storage", "synapse", "elementWeb", "matrixRTC", "wellKnownDelegation")
    )
    taken = take_over([write(tmp_path, values, "values.yaml")])
    parse_site(site_text({**taken.tree, "images": {"registry": "registry.example.com"}}))


def test_every_option_that_a_site_has_its_own_for_has_a_reader() -> None:
    from app.documents.synapse_options import BY_OPTION
    from app.moving_in.synapse import READERS

    # A TURN server of one's own is passed on; the others are the platform's.
    assert BY_OPTION.keys() - READERS.keys() == {"redis", "media_storage_providers", "turn_uris"}


def test_durations_and_sizes_mean_what_they_mean_to_synapse() -> None:
    assert [days(value) for value in ("1y", "2w", "24h", 86_400_000, "86400000", "36h", "0d", "x", True, None, -1)] == [
        *("365d", "14d", "1d", "1d", "1d"),
        *([None] * 6),
    ]
    assert [delay(value) for value in ("10m", 5000, "x")] == ["600s", "5s", None]
    assert [size(value) for value in ("50M", 1048576, "1G", "1000", 0, "M", True)] == ["50Mi", "1Mi", "1Gi", "1Ki", None, None, None]
