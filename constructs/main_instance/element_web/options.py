"""How a site's Element Web looks, and where it leads."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import HttpsUrl, Line
from kit.options import Free, Settings, option

ElementSettings = Annotated[
    Settings,
    Free(
        "options of Element Web's config.json", "default_country_code: DE", "Element Web is read by everybody: it has no secret; remove it"
    ),
]


class Theme(StrEnum):
    """What users of Element Web see who have chosen no theme."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@frozen(kw_only=True)
class ElementOptions:
    """Element Web, the client for the browser."""

    brand: Line = option("Element", "What it calls itself.")
    theme: Theme = option(Theme.SYSTEM, "For users who have chosen none; `system`: what their device prefers.")
    help_url: HttpsUrl | None = option(None, "Where its help leads.", otherwise="the client itself")
    custom_homeservers: bool = option(False, "Whether people may use it to log in to other homeservers.")
    config: ElementSettings = option(
        Settings(),
        "Further options of its config.json: any that the platform does not set, in the sections that it sets too.",
        otherwise="`{}`",
    )
