"""What programs that send mail must know: sections of their configuration files, and a Secret for each with the password in its own form."""

from typing import Any

from kit.network import External
from kit.secrets import Composed, Form, Given, KeyRef, SecretSpec, Shared
from kit.text import yaml_text
from main_instance.mail.options import MAIL, MailOptions, MailTls

Config = dict[str, Any]

SECRET, PASSWORD = "mail", "password"
"""Where the operator of the site puts it."""
FILE = "mail.yaml"
"""The key of the Secret of each program: a file of its configuration."""


def synapse_section(mail: MailOptions, client: str) -> Config:
    """`email` of Synapse. `client`: where a mail leads to (docs: Synapse's config_documentation, email)."""
    return {
        "smtp_host": mail.host,
        "smtp_port": mail.port,
        # The name in the certificate is checked in both.
        **({"force_tls": True} if mail.tls is MailTls.TLS else {"require_transport_security": True}),
        "notif_from": mail.sender,
        "enable_notifs": mail.notifications,
        "notif_delay_before_mail": mail.notify_after,
        "client_base_url": client,
    }


def service_section(mail: MailOptions) -> Config:
    """`email` of the Matrix Authentication Service (crates/config/src/sections/email.rs). The password is in another file, which is joined."""
    return {
        "from": mail.sender,
        "reply_to": mail.sender,
        "transport": "smtp",
        "mode": mail.tls.value,
        "hostname": mail.host,
        "port": mail.port,
        **({"username": mail.user} if mail.user else {}),
    }


def password_secret(namespace: str) -> SecretSpec:
    """The one Secret that is given."""
    return SecretSpec(SECRET, namespace, {PASSWORD: Given("Password of mail.user at the mail server", Form.LINE)})


def file_secret(name: str, namespace: str, section: Config, key: str) -> SecretSpec:
    """A file with a section `email` and the password in it, which its program takes from no file of its own. `key`: what it calls the password."""
    text = yaml_text({"email": section}).replace("{", "{{").replace("}", "}}") if section else "email:\n"
    # A block of text as it is: nothing in it has a meaning in YAML. Two spaces below its key, so that it may begin with one.
    block = f"  {key}: |2-\n    {{{PASSWORD}}}\n"
    return SecretSpec(name, namespace, {PASSWORD: Shared(KeyRef(namespace, SECRET, PASSWORD)), FILE: Composed(f"{text.rstrip()}\n{block}")})


def way_out(mail: MailOptions) -> External:
    """Where it is."""
    return External(MAIL, (mail.port,), mail.networks, public=not mail.networks)
