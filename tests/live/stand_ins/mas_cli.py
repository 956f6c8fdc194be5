#!/usr/bin/env python
"""Stands in for the Matrix Authentication Service (`mas-cli`), which no package registry has: accounts, logins and tokens, and no pages.

It reads the rendered configuration as the service does, so that everything which that names has to be there: the encryption key, the signing
key, the secret that Synapse knows, the database with its verified certificate, the addresses to listen on. Whatever is wrong with one of them
ends it at the start. Accounts and sessions are in the database alone, so that its replicas are equal.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from argparse import ArgumentParser
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psycopg2
import requests
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TABLES = """
SELECT pg_advisory_lock(1);
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE IF NOT EXISTS users (name text PRIMARY KEY, password text NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (token text PRIMARY KEY, name text NOT NULL, device text NOT NULL, more text NOT NULL DEFAULT '');
SELECT pg_advisory_unlock(1);
"""
SCOPE = "urn:matrix:client:api:* urn:matrix:client:device:"
ADMINISTRATION = " urn:synapse:admin:*"


def configuration() -> dict[str, Any]:
    """The files of MAS_CONFIG, a later one before an earlier."""
    settings: dict[str, Any] = {}
    for path in os.environ["MAS_CONFIG"].split(":"):
        settings |= yaml.safe_load(Path(path).read_text())
    return settings


CONFIG = configuration()
SECRET = Path(CONFIG["matrix"]["secret_file"]).read_text().strip()


def check_keys() -> None:
    """As the service reads them: 64 hexadecimal digits and not a line end more (crates/config/src/sections/secrets.rs), and an RSA key."""
    digits = Path(CONFIG["secrets"]["encryption_file"]).read_text()
    assert (len(digits), len(bytes.fromhex(digits))) == (64, 32)
    keys = [load_pem_private_key(Path(key["key_file"]).read_bytes(), None) for key in CONFIG["secrets"]["keys"]]
    assert any(isinstance(key, RSAPrivateKey) for key in keys)


def query(statement: str, *values: str) -> list[tuple[Any, ...]]:
    """Run a statement in a transaction of its own."""
    of = CONFIG["database"]
    password = Path(of["password_file"]).read_text().strip()
    where = {"host": of["host"], "port": of["port"], "user": of["username"], "dbname": of["database"], "password": password}
    connection = psycopg2.connect(**where, sslmode=of["ssl_mode"], sslrootcert=of["ssl_ca_file"], connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def tell_homeserver(what: str, **body: str) -> None:
    """A question to Synapse (crates/matrix-synapse/src/modern.rs)."""
    url = f"{CONFIG['matrix']['endpoint']}_synapse/mas/{what}"
    answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {SECRET}"}, timeout=20)
    assert answer.status_code < 300, f"{url}: {answer.status_code} {answer.text}"


def client_address(request: web.Request) -> str:
    """Who asks, as the service finds it out (crates/cli/src/app_state.rs, infer_client_ip)."""
    trusted = [ip_network(network) for network in CONFIG["http"]["trusted_proxies"]]
    forwarded = [ip_address(part.strip()) for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    known = [ip_address(request.remote or ""), *forwarded]
    return str(next((one for one in reversed(known) if not any(one in network for network in trusted)), known[0]))


async def discovery(_: web.Request) -> web.Response:
    issuer = CONFIG["http"]["public_base"]
    return web.json_response({"issuer": issuer, "account_management_uri": f"{issuer}account/"})


async def introspect(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != f"Bearer {SECRET}":
        return web.json_response({"error": "invalid_client"}, status=401)
    found = query("SELECT name, device, more FROM sessions WHERE token = %s", str((await request.post())["token"]))
    if not found:
        return web.json_response({"active": False})
    ((name, device, more),) = found
    return web.json_response({"active": True, "username": name, "scope": f"{SCOPE}{device}{more}", "expires_in": 300})


async def flows(_: web.Request) -> web.Response:
    return web.json_response({"flows": [{"type": "m.login.password"}]})


async def log_in(request: web.Request) -> web.Response:
    body = await request.json()
    name, token, device = body["identifier"]["user"], f"mat_{secrets.token_urlsafe(24)}", secrets.token_hex(5).upper()
    print(json.dumps({"login": name, "address": client_address(request)}), flush=True)
    if query("SELECT 1 FROM users WHERE name = %s AND password = %s", name, body["password"]) == []:
        return web.json_response({"errcode": "M_FORBIDDEN", "error": "Invalid username or password"}, status=403)
    tell_homeserver("upsert_device", localpart=name, device_id=device)
    query("INSERT INTO sessions VALUES (%s, %s, %s)", token, name, device)
    user = f"@{name}:{CONFIG['matrix']['homeserver']}"
    return web.json_response({"access_token": token, "device_id": device, "user_id": user})


async def log_out(request: web.Request) -> web.Response:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    ((name, device),) = query("DELETE FROM sessions WHERE token = %s RETURNING name, device", token)
    tell_homeserver("delete_device", localpart=name, device_id=device)
    return web.json_response({})


async def health(_: web.Request) -> web.Response:
    query("SELECT 1")
    return web.Response(text="ok")


async def version(request: web.Request) -> web.Response:
    return web.json_response({"version": "v1.22.0"}, status=200 if request.headers.get("Authorization") else 401)


async def metrics(_: web.Request) -> web.Response:
    return web.Response(text="# nothing is counted here\n")


RESOURCES = {
    "discovery": [web.get("/.well-known/openid-configuration", discovery)],
    "oauth": [web.post("/oauth2/introspect", introspect)],
    "compat": [
        web.get("/_matrix/client/{version}/login", flows),
        web.post("/_matrix/client/{version}/login", log_in),
        web.post("/_matrix/client/{version}/logout", log_out),
    ],
    "adminapi": [web.get("/api/admin/v1/version", version)],
    "health": [web.get("/health", health)],
    "prometheus": [web.get("/metrics", metrics)],
}
PAGES = {"human", "graphql", "assets"}
"""What there is none of here."""


async def serve() -> None:
    """Every listener of the configuration, with what it says that is served there, until SIGTERM."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    for listener in CONFIG["http"]["listeners"]:
        application = web.Application()
        names = {resource["name"] for resource in listener["resources"]}
        assert names <= RESOURCES.keys() | PAGES, names
        application.add_routes([route for name in sorted(names & RESOURCES.keys()) for route in RESOURCES[name]])
        runner = web.AppRunner(application)
        await runner.setup()
        for bind in listener["binds"]:
            host, _, port = bind["address"].rpartition(":")
            await web.TCPSite(runner, host, int(port)).start()
    await over.wait()


def register(arguments: list[str]) -> None:
    """`mas-cli manage register-user`, with the options that make it ask nothing."""
    parser = ArgumentParser()
    for name in ("username", "password"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--yes", action="store_true", required=True)
    given = parser.parse_args(arguments)
    query("INSERT INTO users VALUES (%s, %s)", given.username, given.password)
    tell_homeserver("provision_user", localpart=given.username)


def issue_token(arguments: list[str]) -> None:
    """`mas-cli manage issue-compatibility-token`, which logs it."""
    parser = ArgumentParser()
    parser.add_argument("username")
    parser.add_argument("--yes-i-want-to-grant-synapse-admin-privileges", action="store_true", dest="admin")
    given = parser.parse_args(arguments)
    token, device = f"mct_{secrets.token_urlsafe(24)}", secrets.token_hex(5).upper()
    tell_homeserver("upsert_device", localpart=given.username, device_id=device)
    query("INSERT INTO sessions VALUES (%s, %s, %s, %s)", token, given.username, device, ADMINISTRATION if given.admin else "")
    print(f"Compatibility token issued: {token} compat_session.device={device}", file=sys.stderr)


def main() -> None:
    """Do what the command line says."""
    check_keys()
    if sys.argv[1] == "manage":
        {"register-user": register, "issue-compatibility-token": issue_token}[sys.argv[2]](sys.argv[3:])
        return
    assert sys.argv[1:] == ["server"], sys.argv
    query(TABLES)
    asyncio.run(serve())


main()
