"""Who logs in at a site, and with what."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from typing import Annotated

from attrs import frozen

from kit.formats import Cidr, HttpsUrl, LdapUrl, Line, Name
from kit.options import Entries, Free, Items, Section, Settings, Text, option, required, section

IDENTITY_PROVIDERS, DIRECTORY = "identity-providers", "directory"
"""What the ways out to them are called."""

_CLAIM = Text("a claim", r"[A-Za-z0-9_.:/-]{1,200}", "preferred_username")
_ATTRIBUTE = Text("an attribute", "[A-Za-z][A-Za-z0-9-]{0,60}", "uid")
Claim = Annotated[str, _CLAIM]
Attribute = Annotated[str, _ATTRIBUTE]
Scope = Annotated[str, Text("a scope", r"[!#-\[\]-~]{1,100}", "openid")]
Claims = Annotated[
    tuple[tuple[str, tuple[str, ...]], ...],
    Entries(key=_CLAIM, value=Items(Text("a value", r"[^\x00-\x1f\x7f]{1,200}", "matrix-users"))),
]
ProviderSettings = Annotated[
    Settings,
    Free(
        "options of a provider as Synapse has them (`oidc_providers`), or the Matrix Authentication Service (`upstream_oauth2.providers`)",
        "pkce_method: always",
        "the Secret of the provider holds the only one that it has",
    ),
]


@frozen(kw_only=True)
class ImportedClaims:
    """Which claims of a person become what here."""

    localpart: Claim = option("preferred_username", "The name before the colon of the user id, at the first login.")
    display_name: Claim = option("name", "The display name, at the first login.")
    email: Claim = option("email", "The e-mail address.")


@frozen(kw_only=True)
class ProviderOptions:
    """An identity provider that speaks OpenID Connect."""

    issuer: HttpsUrl = required("Its issuer, as it stands in its `/.well-known/openid-configuration`.")
    client_id: Line = required("What it knows this homeserver by. The client secret is `client_secret` in the Secret `login-<name>`.")
    display_name: Line | None = option(None, "What people see who choose between providers.", otherwise="the name of the entry")
    scopes: tuple[Scope, ...] = option(("openid", "profile", "email"), "What it is asked for.")
    claims: ImportedClaims = section(ImportedClaims)
    required_claims: Claims = option(
        (),
        "Who may log in: for each claim the values of which a person must have one. Looked at in each login, by Synapse; with the Matrix "
        "Authentication Service, the provider itself must refuse people.",
        otherwise="everybody whom the provider knows",
    )
    existing_accounts: bool = option(
        False,
        "Whether a person gets the account that has their name already. Only where nobody can choose at the provider what they are called.",
    )
    cidrs: tuple[Cidr, ...] = option((), "Addresses at which it is reached, at the port of the issuer.", otherwise="any on the internet")
    extra: ProviderSettings = option(Settings(), "Any further option of a provider.", otherwise="`{}`")


@frozen(kw_only=True)
class LdapAttributes:
    """Which attributes of a person become what here."""

    user: Attribute = option(
        "uid", "The name before the colon of the user id: what people type in. With Active Directory `userPrincipalName`."
    )
    display_name: Attribute = option("cn", "The display name, at the first login.")
    email: Attribute = option("mail", "The e-mail address.")


@frozen(kw_only=True)
class LdapOptions:
    """A directory whose passwords people log in with, by LDAP. Not with the Matrix Authentication Service."""

    servers: tuple[LdapUrl, ...] = required("Its servers, of which any answers.")
    cidrs: tuple[Cidr, ...] = required("Addresses at which they are reached.")
    base: Line = required("Below which entry people are.")
    bind_dn: Line | None = option(
        None,
        "The entry that looks people up; its password is `password` in the Secret `login-ldap`.",
        otherwise="nobody is looked up: a person is the entry `<attribute>=<name>,<base>`",
    )
    filter: Line | None = option(None, "Which of the people that are found may log in, as a filter in parentheses.", otherwise="all")
    start_tls: bool = option(False, "For `ldap://`: the connection is encrypted as it begins. No password crosses an open one.")
    active_directory: bool = option(False, "Whether it is Active Directory, with names such as `alice/example.com`.")
    default_domain: Line | None = option(None, "With Active Directory, the domain of names without one.")
    attributes: LdapAttributes = section(LdapAttributes)


ProviderName = Text("a name", "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", "corporate", mend=str.lower)
Providers = Annotated[tuple[tuple[str, ProviderOptions], ...], Entries(key=ProviderName, value=Section(ProviderOptions))]


@frozen(kw_only=True)
class LoginOptions:
    """Who logs in, and with what."""

    passwords: bool = option(
        True, "Whether accounts have passwords of the homeserver's own. `false`: people log in by `providers` or `ldap` alone."
    )
    providers: Providers = option(
        (),
        "Identity providers (OpenID Connect), each by a name, which stands beside the accounts in the database: it must not change.",
        otherwise="none",
        opens=(IDENTITY_PROVIDERS,),
    )
    ldap: LdapOptions | None = option(None, "A directory whose passwords people log in with, by LDAP.", opens=(DIRECTORY,))
    ca_secret: Name | None = option(
        None, "Secret with `ca.crt`, the authority of their certificates, trusted beside the public ones.", otherwise="public authorities"
    )
