"""Every host of a site has a name that it can be given, and a Secret for its certificate."""

from attrs import fields

from app.site import Hosts
from infrastructure.ingress.options import TlsSecretNames


def without_secret(hosts: set[str]) -> list[str]:
    """Hosts for whose certificate no Secret can be named."""
    named = {secret.name for secret in fields(TlsSecretNames)}
    return [f"hosts.{host} has no Secret for its certificate in tls.secret_names" for host in sorted(hosts - named)]


def test_every_host_has_a_secret_for_its_certificate() -> None:
    assert without_secret({host.name for host in fields(Hosts)}) == []


def test_a_host_without_a_secret_is_noticed() -> None:
    assert without_secret({"matrix", "new"}) == ["hosts.new has no Secret for its certificate in tls.secret_names"]


def test_every_secret_is_of_a_host_or_of_the_server_name() -> None:
    assert {secret.name for secret in fields(TlsSecretNames)} - {host.name for host in fields(Hosts)} == {"well_known"}
