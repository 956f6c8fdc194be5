"""Mail: what Synapse and the Matrix Authentication Service are told of the mail server, and how they learn its password."""

import re
from typing import Any

import pytest
import yaml
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kit.formats import Line
from kit.options import Text as TextKind
from kit.options import kind_of
from kit.secrets import SecretSpec, Text
from main_instance.mail.configuration import FILE, file_secret, service_section, synapse_section, way_out
from main_instance.mail.options import MailOptions, MailTls

MAIL = MailOptions(server="smtp.example.com", sender="Matrix <matrix@example.com>", user="matrix {a}")
LINE = kind_of(Line)
assert isinstance(LINE, TextKind)
PASSWORDS = st.from_regex(re.compile(rf"(?:{LINE.pattern})\Z"), fullmatch=True)


def composed(secret: SecretSpec, password: str) -> Any:
    """The file that the provider of secrets makes."""
    return yaml.safe_load("".join(part.text if isinstance(part, Text) else password for part in secret.parts(FILE)))


@pytest.mark.parametrize(
    ("server", "tls", "port"),
    [
        ("smtp.example.com", MailTls.STARTTLS, 587),
        ("smtp.example.com", MailTls.TLS, 465),
        ("smtp.example.com:25", MailTls.STARTTLS, 25),
        ("smtp.example.com:2465", MailTls.TLS, 2465),
    ],
)
def test_both_programs_call_the_port_that_the_policies_open(server: str, tls: MailTls, port: int) -> None:
    mail = evolve(MAIL, server=server, tls=tls)
    assert way_out(mail).ports == (port,)
    assert (synapse_section(mail, "")["smtp_host"], synapse_section(mail, "")["smtp_port"]) == ("smtp.example.com", port)
    assert (service_section(mail)["hostname"], service_section(mail)["port"]) == ("smtp.example.com", port)


def test_mail_is_never_handed_over_in_the_clear() -> None:
    starttls, tls = (evolve(MAIL, tls=of) for of in (MailTls.STARTTLS, MailTls.TLS))
    assert synapse_section(starttls, "")["require_transport_security"] is True
    assert synapse_section(tls, "")["force_tls"] is True
    assert (service_section(starttls)["mode"], service_section(tls)["mode"]) == ("starttls", "tls")


@given(PASSWORDS)
def test_any_password_reaches_synapse_as_it_is_with_all_of_its_section(password: str) -> None:
    section = {**synapse_section(MAIL, "https://element.example.com"), "smtp_user": MAIL.user}
    assert composed(file_secret("synapse-mail", "matrix", section, "smtp_pass"), password) == {"email": {**section, "smtp_pass": password}}


@given(PASSWORDS)
def test_any_password_reaches_the_authentication_service_as_it_is(password: str) -> None:
    assert composed(file_secret("service-mail", "matrix", {}, "password"), password) == {"email": {"password": password}}
    assert service_section(MAIL)["username"] == MAIL.user
    assert "username" not in service_section(evolve(MAIL, user=None))
