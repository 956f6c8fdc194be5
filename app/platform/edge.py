"""What follows from all that the components have declared: who makes the Secrets, who comes in, who may talk to whom, and how much."""

from collections.abc import Iterable

from app.platform.infrastructure import namespaces, place
from app.site import Site
from infrastructure.ingress.component import Ingress
from infrastructure.network_policies import NetworkPolicies, NetworkPoliciesSpec
from infrastructure.quotas import Quotas
from infrastructure.secret_provider.component import ExternalSecrets, SecretGenerator
from infrastructure.secret_provider.providers import providers
from kit.installation import Installation
from kit.place import Place
from kit.rendering import Manifest


def edge(installation: Installation, site: Site, left: Iterable[Manifest] = ()) -> None:
    """Create it, when everything else has been declared. `left`: the objects of a larger size that this one takes the place of."""
    main, li = place(site), site.namespaces.li
    generator, fetched = providers(installation.declared.secrets, site.secrets)
    if generator:
        SecretGenerator(installation, main, generator)
    ExternalSecrets(installation, main, fetched)
    Ingress(installation, main, site.ingress, site.tls)
    if site.network_policies:
        names = {(main.namespace, "postgresql-main"): "postgresql-access"} | NetworkPoliciesSpec.isolation(li, "li-instance-isolation")
        files = {(main.namespace, "key-vault-server"): "main-instance/08-key-vault/networkpolicy.yaml"}
        own = tuple(namespace.name for namespace in namespaces(site))
        NetworkPolicies(installation, main, NetworkPoliciesSpec(own, site.ingress.controller_namespace, names, files))
    Quotas(installation, Place("", main.namespace), left)
