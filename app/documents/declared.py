"""docs/reference/secrets.md, state.md and ways-out.md: what components say of what must stay secret, what they keep and whom they call."""

from collections.abc import Iterable, Sequence

from cdk8s import App
from tabulate import tabulate

from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from kit.installation import Declarations
from kit.options import Section, options_below
from overlays import Profile

_EVERYTHING = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {calls: true, push: true, li: true, authentication_service: true, federation: true, antivirus: true, monitoring: true}
antivirus: {mode: quarantine, encrypted: true, icap: {other: 'icap://av.example.com:1344/scan'}}
mail: {server: smtp.example.com, sender: matrix@example.com, user: matrix}
homeserver: {url_previews: true}
authentication_service: {extra_secret: true}
login: {providers: {corporate: {issuer: "https://id.example.com", client_id: matrix}}}
application_services: {telegram: {url: "https://telegram.example.com", bot: telegrambot}}
cluster: {node_cidrs: [10.0.0.0/24], service_cidrs: [10.43.0.0/16]}
ingress: {li_source_ranges: [192.0.2.0/24]}
backups: {object_storage: {backend: minio}}
li:
  country_code: DE
  owner: operator
  officers: {anna@example.com: Anna Adler (investigator)}
  key_deposit: true
  notice_url: https://example.com/notice
push:
  gateways: internet
  apns: {key_id: ABCDE12345, team_id: ABCDE12345, apps: {com.example.app.ios: com.example.app}}
  fcm_apps: {com.example.app.android: example-app}
"""
_OTHERWISE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
object_storage: {backend: external, external: {endpoint: https://s3.example.com}}
backups: {object_storage: {backend: external, external: {endpoint: https://backups.example.com}}}
features: {li: true, monitoring: true}
li: {country_code: DE, owner: operator, officers: {anna@example.com: Anna Adler (investigator)}}
login:
  ldap: {servers: ["ldaps://ldap.example.com"], cidrs: [192.0.2.7/32], base: "dc=example,dc=com", bind_dn: "cn=matrix,dc=example,dc=com"}
"""
_SERVED = """
server_name: example.com
images: {registry: registry.example.com/matrix}
features: {authentication_service: true}
postgresql: {backend: external, external: {host: db.example.com, ca_secret: db-ca, cidrs: [192.0.2.8/32]}}
redis: {backend: external, external: {servers: ['redis.example.com:6380'], ca_secret: redis-ca, cidrs: [192.0.2.9/32]}}
"""
_TOGETHER = """
server_name: example.com
images: {registry: registry.example.com/matrix}
"""
_TOGETHER_OUTSIDE = """
server_name: example.com
images: {registry: registry.example.com/matrix}
object_storage: {backend: external, external: {endpoint: https://s3.example.com}}
"""
_SITES = (_EVERYTHING, _OTHERWISE, _SERVED, _TOGETHER, _TOGETHER_OUTSIDE)
"""What any site can have is in one of these."""


def declarations(profile: Profile) -> tuple[Declarations, ...]:
    """What the components of these sites declare."""
    return tuple(assemble(App(), parse_site(site), profile).declared for site in _SITES)


def secrets_page(declared: Sequence[Declarations]) -> str:
    """Every value that is kept in its own right, and what its change does."""
    rows: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for need in (need for declarations in declared for need in declarations.secrets):
        for key in need.spec.kept:
            change = need.changes[key]
            names, keys = rows.setdefault((change.effect, change.then), ({}, {}))
            names[f"`{need.spec.name}`"] = keys[f"`{key}`"] = None
    table = [(", ".join(names), ", ".join(keys), effect, then) for (effect, then), (names, keys) in rows.items()]
    return (
        "# Secrets\n\n"
        "Every value that is kept in its own right, of a site with everything on. What is composed of it or shared with another namespace "
        'follows it; how a value is changed is in "Rotate a secret" of [the operations guide](../03-OPERATIONS-GUIDE.md).\n\n'
        + tabulate(table, ["Secret", "Key", "When it changes", "Then"], tablefmt="pipe")
        + "\n"
    )


def ways_out_page(declared: Iterable[Declarations]) -> str:
    """Every way out of the cluster, the pods that may take it, and the options that open it."""
    rows: dict[str, dict[str, None]] = {}
    where: dict[str, str] = {}
    for source, external in (way for one in declared for way in one.outside):
        rows.setdefault(external.name, {})[source.name] = None
        ports = ", ".join(map(str, external.ports)) or "any"
        where[external.name] = f"{'the internet' if external.public else ', '.join(external.cidrs) or 'any address'}, TCP {ports}"
    options = {name: [f"`{key}`" for key, option in options_below(Section(Site)) if name in option.opens] for name in rows}
    table = [(name, ", ".join(pods), where[name], ", ".join(options[name])) for name, pods in rows.items()]
    return (
        "# Ways out of the cluster\n\n"
        "Which pods call whom outside, by the options that open the way, and where it leads unless these options name networks. Beside them "
        "there are DNS, for whoever may call anything, and the API server, for who needs it. Nothing else leaves: "
        "`python -m app reach <workload> world:443` asks that of your site.\n\n"
        + tabulate(table, ["Way", "Pods", "Leads to", "Opened by"], tablefmt="pipe", disable_numparse=True)
        + "\n"
    )


def state_page(declared: Iterable[Declarations]) -> str:
    """What is kept, and what brings it back."""
    rows = dict.fromkeys((name, kept.what, f"`{kept.where}`", kept.restored) for one in declared for name, kept in one.state)
    return (
        "# What is kept\n\n"
        "What would be gone if an object were deleted with its volumes, and what brings it back. Everything else is made anew from this "
        "repository.\n\n" + tabulate(list(rows), ["Component", "What", "Held by", "Brought back by"], tablefmt="pipe") + "\n"
    )
