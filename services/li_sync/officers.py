"""Accounts of officers, which exist on LI alone, under the reserved prefix that main refuses to register."""

import re
import time

from services.li_sync.postgres import Problem, connect, rows
from services.li_sync.settings import Settings

# What Synapse's `hash_password` prints. The password itself never comes here.
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")


def user_id(settings: Settings, name: str) -> str:
    """The account of an officer. Raises Problem for a name that main could have as well."""
    prefix = settings.li.reserved_prefix
    if not prefix or not name.startswith(prefix) or name == prefix or not _LOCALPART.fullmatch(name):
        raise Problem(f"an officer's name begins with {prefix!r} and has lower-case letters, digits and ._=/+- only")
    return f"@{name}:{settings.follow.server_name}"


def add_officer(settings: Settings, name: str, password_hash: str) -> str:
    """Add an account that may use LI's admin API, or give it another password; its id. Raises Problem."""
    if not _BCRYPT.fullmatch(password_hash):
        raise Problem("that is no hash of a password: give what hash_password prints in the pod of LI's Synapse")
    account = user_id(settings, name)
    with connect(settings.li.owner) as li, li.transaction():
        li.execute(
            "INSERT INTO public.users (name, password_hash, admin, creation_ts) VALUES (%s, %s, 1, %s) "
            "ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, deactivated = 0",
            (account, password_hash, int(time.time())),
        )
        li.execute("DELETE FROM local.access_tokens WHERE user_id = %s", (account,))
    return account


def remove_officer(settings: Settings, name: str) -> str:
    """Take an account and its sessions away; its id. Raises Problem if there is none."""
    account = user_id(settings, name)
    with connect(settings.li.owner) as li, li.transaction():
        if not rows(li, "DELETE FROM public.users WHERE name = %s RETURNING name", (account,)):
            raise Problem(f"there is no account {account}")
        li.execute("DELETE FROM local.access_tokens WHERE user_id = %s", (account,))
    return account
