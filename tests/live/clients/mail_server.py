"""A mail server that takes mail by TLS alone, from who logs in, and prints it.

Usage: `python -m tests.live.clients.mail_server`, with JSON on standard input: `listen` (port), `user`, `password`, `certificate` and `key` (PEM),
and `encrypted` if it speaks TLS from the first byte, and not from STARTTLS on. A mail is a line of JSON: `from` and `to`, `peer` (address),
`subject`, and `text`, its plain part. First it prints `{}`.
"""

import asyncio
import json
import sys
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.live.clients.relay import server_context


class Server(SMTP):  # type: ignore[misc] # aiosmtpd has no types
    """It asks for a name and a password in the words that clients know: those of Microsoft's servers, and of Postfix."""

    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"


class Printer:
    """What is done with mail."""

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd calls it so
        """A mail has come."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        plain = mail.get_body(("plain",))
        text = plain.get_content() if plain else ""
        told = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "peer": session.peer[0], "subject": mail["subject"], "text": text}
        print(json.dumps(told), flush=True)
        return "250 OK"


async def serve(given: dict[str, Any]) -> None:
    """Until it is killed."""

    def authenticate(_: SMTP, __: Session, ___: Envelope, ____: str, login: LoginPassword) -> AuthResult:
        return AuthResult(success=(login.login.decode(), login.password.decode()) == (given["user"], given["password"]), handled=False)

    context, encrypted = server_context(given), bool(given.get("encrypted"))

    def protocol() -> SMTP:
        # It does not see that the connection is encrypted already, and would let nobody log in.
        tls = {"auth_require_tls": False} if encrypted else {"tls_context": context, "require_starttls": True}
        return Server(Printer(), authenticator=authenticate, auth_required=True, **tls)

    server = await asyncio.get_running_loop().create_server(protocol, "0.0.0.0", given["listen"], ssl=context if encrypted else None)
    print("{}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(json.load(sys.stdin)))
