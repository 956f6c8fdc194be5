"""For every secret value of the platform it is written down what happens when it changes; and no private key that must stay outside is made."""

from collections.abc import Iterator

import pytest
from attrs import evolve
from cdk8s import App

from app.platform import assemble
from app.rotation import ROTATIONS, kept, secrets_page
from app.site import Site
from kit.secrets import RandomText, RsaPrivateKey, SecretSpec
from overlays import profiles

NAMESPACE = "matrix"
# Why a private RSA key may be made in the cluster: its program signs with it, and nothing is encrypted to it.
SIGNING_KEYS = {("matrix-authentication-service", "rsa.pem")}


@pytest.fixture(scope="module")
def specs(full_site: Site, other_site: Site) -> tuple[SecretSpec, ...]:
    """The Secrets of sites that have between them what any site can have."""
    additions = evolve(full_site.authentication_service, additions=True)
    sites = (evolve(full_site, authentication_service=additions), other_site)
    return tuple(spec for site in sites for _, _, spec in assemble(App(), site, profiles()[0]).declared.secrets)


def undocumented(specs: tuple[SecretSpec, ...]) -> Iterator[str]:
    """Values with no line, or with several that contradict each other."""
    for secret, key in kept(specs):
        lines = [line for line in ROTATIONS if line.is_of(secret, key)]
        if len(lines) != 1:
            yield f"{secret}:{key} has {len(lines)} lines in app/rotation.py"


def test_it_is_written_down_what_happens_when_a_secret_changes(specs: tuple[SecretSpec, ...]) -> None:
    assert list(undocumented(specs)) == []


def test_a_new_secret_without_a_line_is_noticed(specs: tuple[SecretSpec, ...]) -> None:
    new = SecretSpec("new", NAMESPACE, {"password": RandomText()})
    assert list(undocumented((*specs, new))) == ["new:password has 0 lines in app/rotation.py"]


def test_every_line_is_about_a_secret_that_there_is(specs: tuple[SecretSpec, ...]) -> None:
    names = kept(specs)
    assert [line for line in ROTATIONS if not any(line.is_of(*name) for name in names)] == []


def test_the_page_has_every_line() -> None:
    page = secrets_page()
    assert all(line.effect in page and line.then in page for line in ROTATIONS)
    assert "`minio-<name>-user-<name>`" in page


def private_keys(specs: tuple[SecretSpec, ...]) -> set[tuple[str, str]]:
    return {(spec.name, key) for spec in specs for key, recipe in spec.keys if isinstance(recipe, RsaPrivateKey)}


def test_the_private_key_of_what_is_encrypted_is_never_in_the_cluster(specs: tuple[SecretSpec, ...]) -> None:
    """What is intercepted is encrypted to a public key that the site gives. Here only keys are made by which a program signs."""
    assert private_keys(specs) == SIGNING_KEYS
    vault = SecretSpec("key-vault", NAMESPACE, {"private.pem": RsaPrivateKey()})
    assert private_keys((*specs, vault)) != SIGNING_KEYS
