"""A mail server that takes mail by TLS alone, from who logs in, and prints it.

Usage: `python -m tests.live.clients.mail_server`, with JSON on standard input: `listen` (port), `user`, `password`, `certificate` and `key` (PEM). A
mail is a line of JSON: `from` and `to`, `peer` (address), and `text`, its plain part. First it prints `{}`.
"""

import asyncio
import json
import sys
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.live.clients.relay import server_context


class Printer:
    """What is done with mail."""

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd calls it so
        """A mail has come."""
        content = envelope.content
        assert isinstance(content, bytes)
        plain = message_from_bytes(content, policy=policy.default).get_body(("plain",))
        text = plain.get_content() if plain else ""
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "peer": session.peer[0], "text": text}), flush=True)
        return "250 OK"


async def serve(given: dict[str, Any]) -> None:
    """Until it is killed."""

    def authenticate(_: SMTP, __: Session, ___: Envelope, ____: str, login: LoginPassword) -> AuthResult:
        return AuthResult(success=(login.login.decode(), login.password.decode()) == (given["user"], given["password"]), handled=False)

    def protocol() -> SMTP:
        return SMTP(Printer(), tls_context=server_context(given), require_starttls=True, authenticator=authenticate, auth_required=True)

    server = await asyncio.get_running_loop().create_server(protocol, "0.0.0.0", given["listen"])
    print("{}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(json.load(sys.stdin)))
