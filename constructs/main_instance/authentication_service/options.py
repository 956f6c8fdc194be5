"""What a site adds to its Matrix Authentication Service."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from typing import Annotated

from attrs import frozen

from kit.options import Free, Settings, option

ServiceSettings = Annotated[
    Settings,
    Free(
        "options of the Matrix Authentication Service",
        "branding: {service_name: Example}",
        "write `authentication_service: {extra_secret: true}`, and put it into that Secret",
    ),
]


@frozen(kw_only=True)
class AuthenticationServiceOptions:
    """The Matrix Authentication Service."""

    extra: ServiceSettings = option(
        Settings(),
        "Further options of the service: any that the platform does not set, in the sections that it sets too.",
        otherwise="`{}`",
    )
    extra_secret: bool = option(
        False,
        "Whether you give it further configuration with secrets in it: `config.yaml` in the Secret `matrix-authentication-service-extra`, "
        "which wins over everything else.",
    )
