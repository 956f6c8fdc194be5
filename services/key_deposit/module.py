"""The Synapse module that takes a user's own recovery key, seals it for the authority, and hands the ciphertext to the key vault.

The key is sealed in Synapse's process, before anything leaves it: see README.md. It is never written, logged or sent in the clear.
"""

import hmac
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from synapse.api.errors import Codes, HttpResponseException, SynapseError
from synapse.http.site import SynapseRequest
from synapse.module_api import DirectServeJsonResource, ModuleApi
from synapse.module_api.errors import ConfigError

from services.key_deposit import recovery_key
from services.key_deposit.envelope import AuthorityKey, read_authority_keys, seal

PATH = "/_synapse/client/recovery_key_deposit/v1"
LARGEST_BODY = 4096
SHORTEST_SECRET = 32

_OPTIONS = {"vault_url", "token_file", "fingerprint_key_file", "authority_public_keys_file", "notice_url"}


@frozen
class DepositConfig:
    """The module's section of homeserver.yaml, and what its files hold."""

    vault_url: str
    """Of the vault's intake, e.g. http://key-vault:8000"""
    notice_url: str
    """The page that tells people who can read their messages, and on what grounds."""
    authority: AuthorityKey
    token: str = field(repr=False)
    fingerprint_key: bytes = field(repr=False)
    """What fingerprints are made with, so that the vault sees that a key has come twice and can still not try out guesses."""


class KeyDeposit:
    """GET says what happens to a key and where the notice stands; POST deposits the caller's own."""

    def __init__(self, config: DepositConfig, api: ModuleApi) -> None:
        api.register_web_resource(PATH, DepositResource(config, api))

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> DepositConfig:
        """Read the module's section and its files. Raises ConfigError, which quotes no secret."""
        for problem, options in (("unknown option", config.keys() - _OPTIONS), ("missing option", _OPTIONS - config.keys())):
            if options:
                raise ConfigError(f"{problem} of the module KeyDeposit: {', '.join(sorted(options))}")
        if not str(config["vault_url"]).startswith(("http://", "https://")) or not str(config["notice_url"]).startswith("https://"):
            raise ConfigError("KeyDeposit: vault_url has to be a URL, and notice_url one that begins with https://")
        try:
            authority = read_authority_keys(_read(config["authority_public_keys_file"]))[0]
        except ValueError as error:
            raise ConfigError(f"KeyDeposit: {config['authority_public_keys_file']} {error}") from None
        token, fingerprint_key = (_read(config[name]).strip() for name in ("token_file", "fingerprint_key_file"))
        for name, secret in (("token_file", token), ("fingerprint_key_file", fingerprint_key)):
            if len(secret) < SHORTEST_SECRET or not secret.isascii():
                raise ConfigError(f"KeyDeposit: the file of {name} needs {SHORTEST_SECRET} or more ASCII characters")
        return DepositConfig(
            vault_url=str(config["vault_url"]).rstrip("/"),
            notice_url=str(config["notice_url"]),
            authority=authority,
            token=token.decode("ascii"),
            fingerprint_key=fingerprint_key,
        )


class DepositResource(DirectServeJsonResource):  # type: ignore[misc]  # Synapse's types are in the live environment alone.
    """The endpoint."""

    isLeaf = True  # noqa: N815  # Twisted's name

    def __init__(self, config: DepositConfig, api: ModuleApi) -> None:
        super().__init__()
        self._config = config
        self._api = api

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:  # noqa: N802
        await self._api.get_user_by_req(request)
        return 200, {
            "notice_url": self._config.notice_url,
            "authority_key_id": self._config.authority.id,
            "readable_by": "the holder of the private half of this key, who gets the ciphertext only under a case that two officers have agreed on",
        }

    async def _async_render_POST(self, request: SynapseRequest) -> tuple[int, dict[str, Any]]:  # noqa: N802
        requester = await self._api.get_user_by_req(request)
        user_id = requester.user.to_string()
        written, key_id = _body(request)
        try:
            key = recovery_key.decode(written)
        except ValueError as error:
            raise SynapseError(400, f"recovery_key {error}", Codes.INVALID_PARAM) from None
        key_id = key_id or await self._default_key_id(user_id)
        description = await self._account_data(user_id, f"m.secret_storage.key.{key_id}")
        # A key that opens nothing would only be found out when somebody needs it.
        if not recovery_key.fits(key, description):
            raise SynapseError(400, "recovery_key is not this account's: it does not fit the secret storage key", Codes.INVALID_PARAM)
        envelope = seal(
            recovery_key.encode(key), self._config.authority, user_id=user_id, secret_storage_key_id=key_id, sealed_at=int(time.time())
        )
        fingerprint = hmac.digest(self._config.fingerprint_key, user_id.encode() + b"\0" + key, "sha256").hex()
        return await self._hand_over({"user_id": user_id, "fingerprint": fingerprint, "envelope": envelope.compact})

    async def _default_key_id(self, user_id: str) -> str:
        default = (await self._account_data(user_id, "m.secret_storage.default_key")).get("key")
        if not isinstance(default, str):
            raise SynapseError(400, "this account has no secret storage yet: set it up first, or name the key_id", Codes.NOT_FOUND)
        return default

    async def _account_data(self, user_id: str, kind: str) -> Mapping[str, Any]:
        data: Mapping[str, Any] | None = await self._api.account_data_manager.get_global(user_id, kind)
        return data or {}

    async def _hand_over(self, deposit: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        headers = {b"Authorization": [f"Bearer {self._config.token}".encode("ascii")]}
        try:
            answer = await self._api.http_client.post_json_get_json(f"{self._config.vault_url}/v1/recovery-keys", deposit, headers)
        except HttpResponseException as refusal:
            if refusal.code == 429:
                raise SynapseError(429, "too many recovery keys in one day", Codes.LIMIT_EXCEEDED) from None
            # The vault's words are for the operator: its log has them.
            raise SynapseError(502, "the key vault did not take the key", Codes.UNKNOWN) from None
        except Exception as error:  # Twisted has many that say only that nobody answered in time.
            raise SynapseError(503, f"the key vault cannot be reached ({type(error).__name__}); try again later", Codes.UNKNOWN) from None
        return 200, {"stored": answer.get("stored") is True, "notice_url": self._config.notice_url}


def _body(request: SynapseRequest) -> tuple[str, str | None]:
    """The recovery key and the id of a secret storage key. Synapse's own parser is not used: it logs what it cannot read."""
    raw = request.content.read(LARGEST_BODY + 1)
    if len(raw) > LARGEST_BODY:
        raise SynapseError(413, f"the body is larger than {LARGEST_BODY} bytes", Codes.TOO_LARGE)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise SynapseError(400, "the body is not JSON", Codes.NOT_JSON) from None
    if not isinstance(body, dict) or not body.keys() <= {"recovery_key", "key_id"} or not isinstance(body.get("recovery_key"), str):
        raise SynapseError(400, "the body has to be an object with recovery_key and, if need be, key_id", Codes.BAD_JSON)
    key_id = body.get("key_id")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= 200 and key_id.isascii() and key_id.isprintable()):
        raise SynapseError(400, "key_id has to be the id of a secret storage key", Codes.INVALID_PARAM)
    return body["recovery_key"], key_id


def _read(path: object) -> bytes:
    try:
        return Path(str(path)).read_bytes()
    except OSError as error:
        raise ConfigError(f"KeyDeposit: {path} cannot be read: {error.strerror}") from None
