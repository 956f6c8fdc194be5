"""What a site adds to its Matrix Authentication Service."""

from attrs import frozen

from kit.formats import Cidr
from kit.options import When, option

IDENTITY_PROVIDERS = "identity-providers"
"""The way out of the cluster to them."""


@frozen(kw_only=True)
class AuthenticationServiceOptions:
    """The Matrix Authentication Service."""

    additions: bool = option(
        False,
        "Whether you give it further configuration, such as identity providers (`upstream_oauth2`): `config.yaml` in the Secret "
        "`matrix-authentication-service-additions`. It may then call port 443 of any address on the internet.",
        opens=(IDENTITY_PROVIDERS,),
    )
    identity_provider_cidrs: tuple[Cidr, ...] = option(
        (),
        "Addresses of identity providers in place of any on the internet.",
        only_with=When("authentication_service.additions", True),
        opens=(IDENTITY_PROVIDERS,),
    )
