"""For every secret value of the platform it is written down what happens when it changes; and no private key that must stay outside is made."""

import pytest
from attrs import evolve
from cdk8s import App

from app.documents.declared import declarations, secrets_page
from app.platform import assemble
from app.site import Site
from kit.secrets import Change, Composed, DeclaredSecret, RandomText, RsaPrivateKey, SecretSpec
from overlays import profiles

NAMESPACE = "matrix"
# Why a private RSA key may be made in the cluster: its program signs with it, and nothing is encrypted to it.
SIGNING_KEYS = {("matrix-authentication-service", "rsa.pem"), ("key-vault", "signing_key")}
REDIS = SecretSpec("redis", NAMESPACE, {"password": RandomText(), "url": Composed("redis://{password}")})
CHANGE = Change("Everything stops.", "Start it again.")


@pytest.fixture(scope="module")
def specs(full_site: Site, other_site: Site) -> tuple[SecretSpec, ...]:
    """The Secrets of sites that have between them what any site can have."""
    extra = evolve(full_site.authentication_service, extra_secret=True)
    sites = (evolve(full_site, authentication_service=extra), other_site)
    return tuple(need.spec for site in sites for need in assemble(App(), site, profiles()[0]).declared.secrets)


def test_a_component_says_what_a_change_of_its_secret_does_or_is_refused() -> None:
    assert DeclaredSecret("folder", "redis", REDIS, {"password": CHANGE}).changes == {"password": CHANGE}
    with pytest.raises(ValueError, match=r"redis: the Secret matrix/redis does not say what a change of password does"):
        DeclaredSecret("folder", "redis", REDIS)


def test_what_follows_from_another_value_cannot_change_by_itself() -> None:
    with pytest.raises(ValueError, match="keeps no url of its own"):
        DeclaredSecret("folder", "redis", REDIS, {"password": CHANGE, "url": CHANGE})


def test_the_page_has_every_value_that_is_kept(specs: tuple[SecretSpec, ...]) -> None:
    page = secrets_page(declarations(profiles()[0]))
    assert [f"{spec}:{key}" for spec in specs for key in spec.kept if f"`{spec.name}`" not in page or f"`{key}`" not in page] == []


def private_keys(specs: tuple[SecretSpec, ...]) -> set[tuple[str, str]]:
    return {(spec.name, key) for spec in specs for key, recipe in spec.keys if isinstance(recipe, RsaPrivateKey)}


def test_the_private_key_of_what_is_encrypted_is_never_in_the_cluster(specs: tuple[SecretSpec, ...]) -> None:
    """What is intercepted is encrypted to a public key that the site gives. Here only keys are made by which a program signs."""
    assert private_keys(specs) == SIGNING_KEYS
    vault = SecretSpec("key-vault-authority", NAMESPACE, {"private.pem": RsaPrivateKey()})
    assert private_keys((*specs, vault)) != SIGNING_KEYS
