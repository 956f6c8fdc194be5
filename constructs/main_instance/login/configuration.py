"""Login, as Synapse and the Matrix Authentication Service have it in their configuration: pure functions of a site's options."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from kit.merging import with_extra
from kit.network import External
from main_instance.login.options import DIRECTORY, IDENTITY_PROVIDERS, LdapOptions, LoginOptions, ProviderOptions

Config = dict[str, Any]

CLIENT_SECRET, LDAP_PASSWORD, AUTHORITY = "client_secret", "password", "ca.crt"
"""Keys of the Secrets, and names of the files."""
LDAP_MODULE = "ldap_auth_provider.LdapAuthProviderModule"
_LDAP_PORTS = {"ldap": 389, "ldaps": 636}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def secret_name(provider: str) -> str:
    """The Secret of a provider, or of the directory (`ldap`)."""
    return f"login-{provider}"


def ulid(name: str) -> str:
    """The id of a provider at the Matrix Authentication Service, which wants a ULID: the same for the same name (github.com/ulid/spec)."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(26)))


def synapse_providers(login: LoginOptions, folder: str) -> list[Config]:
    """Synapse's `oidc_providers`. `folder`: where the folders of the Secrets are. Raises OptionError when `extra` sets what is set here."""
    return [_joined(_for_synapse(name, of, f"{folder}/{secret_name(name)}/{CLIENT_SECRET}"), of, name) for name, of in login.providers]


def service_providers(login: LoginOptions, folder: str) -> list[Config]:
    """`upstream_oauth2.providers` of the Matrix Authentication Service. Raises OptionError as `synapse_providers` does."""
    return [_joined(_for_service(name, of, f"{folder}/{secret_name(name)}/{CLIENT_SECRET}"), of, name) for name, of in login.providers]


def ldap_module(ldap: LdapOptions, folder: str, authority: str | None) -> Config:
    """The configuration of matrix-synapse-ldap3 0.4 (ldap_auth_provider.py, parse_config). `authority`: the file with a private one."""
    attributes = ldap.attributes
    config: Config = {
        "enabled": True,
        "mode": "search" if ldap.bind_dn else "simple",
        "uri": list(ldap.servers),
        "start_tls": ldap.start_tls,
        "base": ldap.base,
        "attributes": {"uid": attributes.user, "name": attributes.display_name, "mail": attributes.email},
        # ssl.CERT_REQUIRED. Unset, it would be certificates of public authorities alone, and unread.
        "tls_options": {"validate": 2} | ({"ca_certs_file": authority} if authority else {}),
    }
    if ldap.bind_dn:
        config |= {"bind_dn": ldap.bind_dn, "bind_password_file": f"{folder}/{secret_name('ldap')}/{LDAP_PASSWORD}"}
    if ldap.filter:
        config["filter"] = ldap.filter
    if ldap.active_directory:
        config |= {"active_directory": True, "default_domain": ldap.default_domain}
    return config


def provider_ways(login: LoginOptions) -> Iterator[External]:
    """Where the providers are."""
    for _, of in login.providers:
        yield External(IDENTITY_PROVIDERS, (urlsplit(of.issuer).port or 443,), of.cidrs, public=not of.cidrs)


def ldap_ways(login: LoginOptions) -> Iterator[External]:
    """Where the directory is."""
    if login.ldap:
        urls = list(map(urlsplit, login.ldap.servers))
        yield External(DIRECTORY, tuple(dict.fromkeys(url.port or _LDAP_PORTS[url.scheme] for url in urls)), login.ldap.cidrs)


def _for_synapse(name: str, of: ProviderOptions, secret: str) -> Config:
    claims = of.claims
    config: Config = {
        "idp_id": name,
        "idp_name": of.display_name or name,
        "issuer": of.issuer,
        "client_id": of.client_id,
        "client_secret_path": secret,
        "scopes": list(of.scopes),
        "allow_existing_users": of.existing_accounts,
        "user_mapping_provider": {
            "config": {
                "localpart_template": _template(claims.localpart),
                "display_name_template": _template(claims.display_name),
                "email_template": _template(claims.email),
            }
        },
    }
    if of.required_claims:
        # Without `value`, a claim that is null would do (synapse/handlers/sso.py, _check_attribute_requirement).
        config["attribute_requirements"] = [
            {"attribute": claim, "value": values[0], "one_of": list(values)} for claim, values in of.required_claims
        ]
    return config


def _for_service(name: str, of: ProviderOptions, secret: str) -> Config:
    claims = of.claims
    localpart: Config = {"action": "require", "template": _template(claims.localpart)}
    return {
        "id": ulid(name),
        # By which upstream's migration finds the accounts that Synapse knows this provider's people by.
        "synapse_idp_id": f"oidc-{name}",
        "human_name": of.display_name or name,
        "issuer": of.issuer,
        "client_id": of.client_id,
        "client_secret_file": secret,
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": " ".join(of.scopes),
        "claims_imports": {
            "localpart": localpart | ({"on_conflict": "add"} if of.existing_accounts else {}),
            "displayname": {"action": "force", "template": _template(claims.display_name)},
            "email": {"action": "force", "template": _template(claims.email)},
        },
    }


def _template(claim: str) -> str:
    """A claim, in the language that Synapse (Jinja) and the service (MiniJinja) share."""
    return f"{{{{ user.{claim} }}}}" if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", claim) else f'{{{{ user["{claim}"] }}}}'


def _joined(config: Config, of: ProviderOptions, name: str) -> Config:
    return with_extra(config, of.extra, f'login.providers["{name}"].extra')
