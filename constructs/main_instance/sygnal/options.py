"""The apps that a site publishes and pushes to."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import frozen

from kit.formats import AppleId, Projects, Topics
from kit.options import option, required

PUSH_SERVICES = "push-services"
"""The way out of the cluster to those of Apple and Google."""


@frozen(kw_only=True)
class Apns:
    """Push to Apple's devices. The authentication key goes into the Secret `push-credentials`, as `apns.p8`."""

    key_id: AppleId = required("Id of the authentication key.")
    team_id: AppleId = required("The team that publishes the apps.")
    apps: Topics = option((), "App id that each app gives to the homeserver, to its topic: the bundle id.", otherwise="`{}`")
    sandbox_apps: Topics = option((), "The same for development builds, which Apple reaches by its sandbox.", otherwise="`{}`")


@frozen(kw_only=True)
class PushOptions:
    """The apps that notifications are pushed to: only who publishes an app can push to it."""

    apns: Apns | None = option(None)
    fcm_apps: Projects = option(
        (),
        "App id of each app that Firebase Cloud Messaging reaches, to its Firebase project. The key of a service account of each project "
        "goes into the Secret `push-credentials`, as `fcm-<project>.json`.",
        otherwise="`{}`",
    )
