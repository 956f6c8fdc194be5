"""The apps that a site publishes and pushes to."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import AppleId, Cidr, Name, Projects, Topics
from kit.options import When, option, required

PUSH_SERVICES, PUSH_GATEWAYS = "push-services", "push-gateways"
"""The ways out of the cluster to those of Apple and Google, and to the gateways of whoever publishes an app."""
_OWN_APPS = When("features.push", True)


class Gateways(StrEnum):
    """Whose push gateways are called."""

    NONE = "none"
    INTERNET = "internet"
    NETWORKS = "networks"


_NETWORKS = When("push.gateways", Gateways.NETWORKS)


@frozen(kw_only=True)
class Apns:
    """Push to Apple's devices. The authentication key goes into the Secret `push-credentials`, as `apns.p8`."""

    key_id: AppleId = required("Id of the authentication key.")
    team_id: AppleId = required("The team that publishes the apps.")
    apps: Topics = option((), "App id that each app gives to the homeserver, to its topic: the bundle id.", otherwise="`{}`")
    sandbox_apps: Topics = option((), "The same for development builds, which Apple reaches by its sandbox.", otherwise="`{}`")


@frozen(kw_only=True)
class PushOptions:
    """The apps that notifications are pushed to. Only who publishes an app can push to it, so an app names the push gateway of its publisher."""

    gateways: Gateways = option(
        Gateways.NONE,
        "Push gateways of others, for apps that others publish, such as Element X of the stores: `internet`, any there; `networks`, those of "
        "`push.gateway_networks`. They are called on port 443.",
        opens=(PUSH_GATEWAYS,),
    )
    gateway_networks: tuple[Cidr, ...] = option(
        (), "Where these gateways are, which may be private.", only_with=_NETWORKS, needed_with=_NETWORKS, opens=(PUSH_GATEWAYS,)
    )
    gateway_ca_secret: Name | None = option(
        None,
        "Secret with `ca.crt`: authorities that may have signed their certificates, beside the public ones.",
        otherwise="public ones alone",
        only_with=_NETWORKS,
    )
    apns: Apns | None = option(None, only_with=_OWN_APPS)
    fcm_apps: Projects = option(
        (),
        "App id of each app that Firebase Cloud Messaging reaches, to its Firebase project. The key of a service account of each project "
        "goes into the Secret `push-credentials`, as `fcm-<project>.json`.",
        otherwise="`{}`",
        only_with=_OWN_APPS,
    )
