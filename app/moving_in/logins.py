"""Who logs in, whom mail reaches, and who else acts for users: those parts of homeserver.yaml."""

import re
from collections.abc import Mapping
from typing import Any

from app.moving_in.taking import Taking, delay

_POLICY = {
    "minimum_length": "minimum_length",
    "require_digit": "digit",
    "require_symbol": "symbol",
    "require_lowercase": "lower_case",
    "require_uppercase": "upper_case",
}
_CLAIMS = {"localpart_template": "localpart", "display_name_template": "display_name", "email_template": "email"}
_LDAP = "ldap_auth_provider.LdapAuthProvider"


def password_config(taking: Taking, value: Mapping[str, Any]) -> None:
    """Who has a password here, and what it must have."""
    if value.get("enabled") is False or value.get("localdb_enabled") is False:
        taking.take("login.passwords", False)
    if value.get("pepper"):
        taking.whole_in_secret("pepper")
        taking.say("without it nobody's password is right", "pepper")
    policy = value.get("policy")
    if isinstance(policy, Mapping) and policy.get("enabled"):
        taking.take("homeserver.password_policy", {ours: policy[theirs] for theirs, ours in _POLICY.items() if theirs in policy}, "policy")


def oidc_providers(taking: Taking, value: list[Any]) -> None:
    """Identity providers, each by its id, which stands beside the accounts in the database."""
    for number, provider in enumerate(value):
        if not isinstance(provider, Mapping):
            taking.say("not taken over: is no mapping", f"[{number}]")
            continue
        _provider(taking, dict(provider), f"[{number}]")


def oidc_config(taking: Taking, value: Mapping[str, Any]) -> None:
    """The one provider of old, whose people the database knows by `oidc`."""
    if value.get("enabled"):
        _provider(taking, {**value, "idp_id": "oidc"}, "")
        taking.say(
            "its people are known by `oidc` in the database, and by `oidc-oidc` here; after the database is moved: "
            "UPDATE user_external_ids SET auth_provider = 'oidc-oidc' WHERE auth_provider = 'oidc'"
        )


def _provider(taking: Taking, provider: dict[str, Any], of: str) -> None:
    name = str(provider.pop("idp_id", "oidc"))
    options: dict[str, Any] = {
        ours: provider.pop(theirs)
        for theirs, ours in (("issuer", "issuer"), ("client_id", "client_id"), ("idp_name", "display_name"), ("scopes", "scopes"))
        if theirs in provider
    }
    if provider.pop("allow_existing_users", False):
        options["existing_accounts"] = True
    claims, kept = _claims(taking, provider.pop("user_mapping_provider", {}), of)
    if claims:
        options["claims"] = claims
    if requirements := provider.pop("attribute_requirements", None):
        options["required_claims"] = {
            str(one["attribute"]): list(one.get("one_of") or [one.get("value")])
            for one in requirements
            if isinstance(one, Mapping) and "attribute" in one
        }
    has_secret = bool({"client_secret", "client_secret_path"} & provider.keys())
    for secret in ("client_secret", "client_secret_path", "enabled"):
        provider.pop(secret, None)
    if provider.pop("client_secret_jwt_key", None):
        taking.say(
            "not taken over: a client secret that is made by a key (Sign in with Apple) has no option here", f"{of}client_secret_jwt_key"
        )
    extra = {**provider, **({"user_mapping_provider": kept} if kept else {})}
    if taking.into("login.providers", name, {**options, **({"extra": extra} if extra else {})}, of) and has_secret:
        taking.secret(f"login-{name}", "client_secret", of=f"{of}.client_secret" if of else "client_secret")


def _claims(taking: Taking, mapping: Any, of: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Templates that are one claim each, and the rest of the section."""
    if not isinstance(mapping, Mapping):
        return {}, {}
    config = dict(mapping.get("config") or {})
    claims = {}
    for theirs, ours in _CLAIMS.items():
        template = config.get(theirs)
        match = re.fullmatch(r"\{\{ *user\.([A-Za-z_]\w*) *\}\}", template) if isinstance(template, str) else None
        if match:
            claims[ours] = match[1]
            del config[theirs]
        elif template is not None:
            taking.say("not taken over: only a single claim can be named here ({{ user.<claim> }}); name one in claims", f"{of}.{theirs}")
            del config[theirs]
    rest = {key: of_it for key, of_it in mapping.items() if key != "config"}
    return claims, rest | ({"config": config} if config else {})


def modules(taking: Taking, value: list[Any]) -> None:
    """Modules, each by the name of its class."""
    for number, module in enumerate(value):
        path = module.get("module") if isinstance(module, Mapping) else None
        if not isinstance(path, str):
            taking.say("not taken over: names no module", f"[{number}]")
        elif path.startswith(_LDAP):
            taking.say("a directory: write the section login.ldap; its password goes into the Secret login-ldap", f"[{number}]")
        else:
            name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", path.rpartition(".")[2]).lower()).strip("-")
            config = module.get("config") or {}
            if taking.into("homeserver.modules", name, {"path": path, **({"config": config} if config else {})}, f"[{number}]"):
                taking.say(
                    "taken over; it must be in the image: make one from the platform's, and name it in homeserver.image", f"[{number}]"
                )


def application_services(taking: Taking, value: list[Any]) -> None:
    """Files that are elsewhere."""
    for number, path in enumerate(value):
        taking.say(
            f"not taken over: give that registration with --from as well ({str(path).rpartition('/')[2]}), and it becomes an entry of "
            "application_services",
            f"[{number}]",
        )


def registration(taking: Taking) -> None:
    """A registration file of an application service, which stays as it is, in a Secret."""
    data, taking.at = taking.given.data, "url"
    name = re.sub(r"[^a-z0-9]+", "-", str(data.get("id", "")).lower()).strip("-")
    url = data.get("url")
    if not isinstance(url, str):
        taking.say(
            "not taken over: an application service without a URL is told of nothing; write application_services yourself if it needs an account"
        )
        return
    if taking.into("application_services", name, {"url": url.rstrip("/"), "given": True}):
        taking.say(
            "taken over: see that Synapse's pods reach it there. In this cluster: `pods`; elsewhere at a private address: `cidrs` "
            f"(docs/site-reference.md, application_services.{name})"
        )
        taking.at = "as_token"
        taking.secret(f"application-service-{name}", "registration.yaml", "the whole file, as it is")


def email(taking: Taking, value: Mapping[str, Any]) -> None:
    """The mail server. Mail is never handed over without TLS here."""
    rest = dict(value)
    sender = str(rest.pop("notif_from", "")).replace("%(app)s", str(rest.pop("app_name", "Matrix")))
    tls = rest.pop("force_tls", False)
    host, port = rest.pop("smtp_host", "localhost"), rest.pop("smtp_port", 465 if tls else 25)
    mail: dict[str, Any] = {"server": f"{host}:{port}", "sender": sender, **({"tls": "tls"} if tls else {})}
    if user := rest.pop("smtp_user", None):
        mail["user"] = user
    if rest.pop("enable_notifs", False) is False:
        mail["notifications"] = False
    if wait := delay(rest.pop("notif_delay_before_mail", None)):
        mail["notify_after"] = wait
    password = bool({"smtp_pass", "smtp_pass_path"} & rest.keys())
    required = rest.pop("require_transport_security", False)
    for name in ("smtp_pass", "smtp_pass_path", "enable_tls"):
        rest.pop(name, None)
    if not sender:
        taking.say("not taken over: has no notif_from; write the section mail, with a sender")
        return
    if taking.take("mail", mail):
        if password:
            taking.secret("mail", "password", of="smtp_pass")
        if not tls and not required:
            taking.say(
                "taken over; mail is handed over with STARTTLS alone here: see that the server offers it, with a certificate that can be checked"
            )
        if host in ("localhost", "127.0.0.1"):
            taking.say("taken over, and leads to Synapse's own pod now: name a mail server that pods reach", "smtp_host")
    for key in sorted(rest):
        taking.say("not taken over: there is no option for it", key)
