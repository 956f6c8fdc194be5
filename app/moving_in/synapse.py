"""homeserver.yaml, key by key: the option of the site that says it, or why there is none."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from app.documents.synapse_options import OF_THE_PLATFORM
from app.moving_in import logins
from app.moving_in.taking import Taking, days, size

_BY_THE_PLATFORM: Mapping[str, str] = {
    **{key: why.replace("`", "") for key, why in OF_THE_PLATFORM.items() if not why.startswith("made")},
    "redis": "it runs its own; yours instead: the section redis",
    "media_store_path": "files are in a bucket; the deployment guide moves them (Moving in)",
    "media_storage_providers": "files are in a bucket; the deployment guide moves them (Moving in)",
    "autocreate_auto_join_rooms": "always, with homeserver.auto_join_rooms",
}
_WORKER_PREFIX = "worker_"
_SECRETS: Mapping[str, tuple[str, str]] = {
    "macaroon_secret_key": ("macaroon_secret_key", "as it was: it signs what people log in with"),
    "form_secret": ("form_secret", "as it was, or leave it to be made"),
    "registration_shared_secret": ("registration_shared_secret", "as it was, or leave it to be made"),
    "signing_key": ("signing_key", "the content of the file, as it was: other servers know this one by it"),
}
_LIMITS: Mapping[str, Mapping[str, str]] = {
    "rc_message": {"": "messages"},
    "rc_login": {"address": "logins_per_address", "account": "logins_per_account", "failed_attempts": "failed_logins"},
    "rc_joins": {"local": "joins"},
    "rc_invites": {"per_user": "invites_per_user"},
}


def take_synapse(taking: Taking) -> None:
    """Everything that a file of Synapse says."""
    for key, value in taking.given.data.items():
        taking.at = key
        if value is None:
            continue
        reader = READERS.get(key)
        if reader and _fits(reader, value):
            reader(taking, value)
        elif reader:
            taking.say("not taken over: it has another form than Synapse's; look it up in Synapse's documentation")
        elif (name := key.removesuffix("_path")) in _SECRETS:
            taking.secret("synapse", _SECRETS[name][0], _SECRETS[name][1])
        elif name == "worker_replication_secret":
            taking.say("the platform's own: made anew")
        elif key in _BY_THE_PLATFORM or key.startswith(_WORKER_PREFIX):
            taking.say(f"the platform's own: {_BY_THE_PLATFORM.get(key, 'the profile says how many workers of which type there are')}")
        else:
            taking.extra(key, value)


def federation(taking: Taking, files: Iterable[Mapping[str, Any]]) -> None:
    """Whether other servers are spoken to: everybody's, unless a whitelist or the listeners say otherwise."""
    merged: dict[str, Any] = {}
    for data in files:
        merged |= data
    closed = merged.get("federation_domain_whitelist") == []
    listeners = merged.get("listeners") or []
    names = {name for one in listeners if isinstance(one, Mapping) for of in one.get("resources") or [] for name in of.get("names") or []}
    if not closed and (not names or "federation" in names):
        taking.take("features.federation", True)


Reader = Callable[[Taking, Any], None]


def _fits(reader: Reader, value: object) -> bool:
    """Whether a value is of the type of its reader's last argument."""
    wanted: Any = tuple(reader.__annotations__.values())[1]
    origin = getattr(wanted, "__origin__", wanted)
    return wanted is Any or (isinstance(value, origin) and (origin is bool or not isinstance(value, bool)))


def _server_name(taking: Taking, value: str) -> None:
    taking.take("server_name", value)


def _public_baseurl(taking: Taking, value: str) -> None:
    url = urlsplit(value)
    host, default = url.hostname or value, f"matrix.{str(taking.tree.get('server_name', '')).partition(':')[0]}"
    if host != default:
        taking.take("hosts.matrix", host)
    if url.path.strip("/") or url.scheme != "https" or url.port not in (None, 443):
        taking.say(f"only the host is taken over: clients come to https://{host} here; see that they find it (.well-known)")


def _database(taking: Taking, value: Mapping[str, Any]) -> None:
    kind = "SQLite becomes PostgreSQL on the way" if value.get("name") == "sqlite3" else "to keep that server, write the section postgresql"
    taking.say(f"not taken over: the platform runs PostgreSQL; the deployment guide moves what is in yours (Moving in); {kind}")


def _presence(taking: Taking, value: Mapping[str, Any]) -> None:
    enabled = value.get("enabled", True)
    if enabled is not True:
        taking.take("homeserver.presence", False)
        if enabled == "untracked":
            taking.say("taken over as false: untracked, which keeps it for modules, cannot be said here")
    _rest(taking, value, "enabled")


def _registration(taking: Taking, value: bool) -> None:
    if not value:
        return
    taking.take("registration.enabled", True)
    if not taking.given.data.get("registration_requires_token"):
        taking.say(
            "taken over; people need a registration token here, which an administrator makes (docs: Registration Tokens API of Synapse)"
        )


def _ignored(_taking: Taking, _value: Any) -> None:
    """What is said by another key."""


def _retention(taking: Taking, value: Mapping[str, Any]) -> None:
    if not value.get("enabled"):
        return
    policy = dict(value.get("default_policy") or {})
    lifetime = policy.pop("max_lifetime", None)
    if lifetime is not None:
        if age := days(lifetime):
            taking.take("homeserver.message_lifetime", age, "default_policy.max_lifetime")
        else:
            taking.say("not taken over: homeserver.message_lifetime has whole days", "default_policy.max_lifetime")
    rest = {key: of for key, of in value.items() if key not in ("enabled", "default_policy")} | (
        {"default_policy": policy} if policy else {}
    )
    if rest:
        taking.extra("retention", rest if lifetime is not None else {**value})


def _media_retention(taking: Taking, value: Mapping[str, Any]) -> None:
    for theirs, ours in (("local_media_lifetime", "local_lifetime"), ("remote_media_lifetime", "remote_lifetime")):
        if value.get(theirs) is None:
            continue
        if age := days(value[theirs]):
            taking.take(f"media.{ours}", age, theirs)
        else:
            taking.say(f"not taken over: media.{ours} has whole days", theirs)


def _max_upload_size(taking: Taking, value: Any) -> None:
    if amount := size(value):
        taking.take("media.max_upload_size", amount)
    else:
        taking.say("not taken over: it is no size; write media.max_upload_size")


def _whitelist(taking: Taking, value: list[Any]) -> None:
    if value:
        taking.take("federation.allowed_domains", value)


def _key_servers(taking: Taking, value: list[Any]) -> None:
    names = [str(server["server_name"]) for server in value if isinstance(server, Mapping) and "server_name" in server]
    if names:
        taking.take("federation.key_servers", names)
    if any(isinstance(server, Mapping) and "verify_keys" in server for server in value):
        taking.say("the names alone are taken over: their keys are not checked against a list here", "verify_keys")


def _rate_limits(taking: Taking, value: Mapping[str, Any]) -> None:
    for part, option in _LIMITS[taking.at].items():
        of = value.get(part) if part else value
        if not isinstance(of, Mapping):
            continue
        if {"per_second", "burst_count"} <= of.keys():
            limit = {"per_second": _number(of["per_second"]), "burst": _number(of["burst_count"])}
            taking.take(f"homeserver.rate_limits.{option}", limit, part)
        else:
            taking.say(f"not taken over: homeserver.rate_limits.{option} needs both per_second and burst_count", part)
    if taking.at != "rc_message":
        _rest(taking, value, *_LIMITS[taking.at])


def _number(value: Any) -> Any:
    """A number without an exponent or a needless fraction."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 9)


def _old_keys(taking: Taking, value: Mapping[str, Any]) -> None:
    for name, of in value.items():
        key, ended = (of.get("key"), of.get("expired_ts")) if isinstance(of, Mapping) else (None, None)
        if not isinstance(key, str) or not isinstance(ended, int):
            taking.say("not taken over: it needs key and expired_ts", name)
            continue
        time = datetime.fromtimestamp(min(ended // 1000, 253_402_300_799), UTC)
        taking.into("old_signing_keys", name, f"{key.rstrip('=')} until {time:%Y-%m-%dT%H:%M:%SZ}", name)


def _server_notices(taking: Taking, value: Mapping[str, Any]) -> None:
    names = {"system_mxid_localpart": "account", "system_mxid_display_name": "display_name", "room_name": "room_name"}
    taking.take("homeserver.server_notices", {ours: value[theirs] for theirs, ours in names.items() if value.get(theirs)})
    _rest(taking, value, *names)


def _user_directory(taking: Taking, value: Mapping[str, Any]) -> None:
    # Synapse's own default is false, the platform's true.
    taking.take("homeserver.search_all_users", bool(value.get("search_all_users", False)))
    _rest(taking, value, "search_all_users", *(("enabled",) if value.get("enabled", True) is True else ()))


def _push(taking: Taking, value: Mapping[str, Any]) -> None:
    if value.get("include_content") is True:
        taking.take("homeserver.push_message_content", True)
    _rest(taking, value, "include_content")


def _redactions(taking: Taking, value: Any) -> None:
    if age := days(value):
        taking.take("homeserver.redaction_retention", age)
    else:
        taking.say("not taken over: homeserver.redaction_retention has whole days")


def _flag(option: str) -> Reader:
    def read(taking: Taking, value: bool) -> None:
        taking.take(option, value)

    return read


def _text(option: str) -> Reader:
    def read(taking: Taking, value: str) -> None:
        taking.take(option, value)

    return read


def _list(option: str) -> Reader:
    def read(taking: Taking, value: list[Any]) -> None:
        if value:
            taking.take(option, value)

    return read


def _turn(taking: Taking, _value: Any) -> None:
    taking.whole_in_secret()
    taking.say(
        "that keeps your own TURN server, and goes together with turn_uris; the platform's comes with features.calls: take both out then"
    )


def _delegated(taking: Taking, _value: Any) -> None:
    taking.say(
        "not taken over: the accounts are in a Matrix Authentication Service already. Write features: {authentication_service: true}, move its "
        "database too, and put its secrets into the Secret matrix-authentication-service"
    )


def _calls(taking: Taking, _value: Any) -> None:
    taking.say("not taken over: the platform has its own LiveKit: features: {calls: true}, cluster: {node_cidrs: [...]}")


def _rest(taking: Taking, value: Mapping[str, Any], *known: str) -> None:
    """Pass on what of a section has no option."""
    for key, of in value.items():
        if key not in known and of is not None:
            taking.extra(taking.at, {key: of})


READERS: Mapping[str, Reader] = {
    "server_name": _server_name,
    "public_baseurl": _public_baseurl,
    "database": _database,
    "presence": _presence,
    "enable_registration": _registration,
    "registration_requires_token": _ignored,
    "enable_registration_without_verification": _ignored,
    "retention": _retention,
    "media_retention": _media_retention,
    "max_upload_size": _max_upload_size,
    "federation_domain_whitelist": _whitelist,
    "trusted_key_servers": _key_servers,
    "old_signing_keys": _old_keys,
    "server_notices": _server_notices,
    "user_directory": _user_directory,
    "push": _push,
    "redaction_retention_period": _redactions,
    "url_preview_enabled": _flag("homeserver.url_previews"),
    "encryption_enabled_by_default_for_room_type": _text("homeserver.encryption"),
    "auto_join_rooms": _list("homeserver.auto_join_rooms"),
    "turn_shared_secret": _turn,
    "turn_shared_secret_path": _turn,
    "matrix_authentication_service": _delegated,
    **dict.fromkeys(_LIMITS, _rate_limits),
    "matrix_rtc": _calls,
    "password_config": logins.password_config,
    "oidc_providers": logins.oidc_providers,
    "oidc_config": logins.oidc_config,
    "modules": logins.modules,
    "password_providers": logins.modules,
    "app_service_config_files": logins.application_services,
    "email": logins.email,
}
