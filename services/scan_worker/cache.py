"""Verdicts in Redis, by the file's SHA-256 and the signatures that they were found with. Without Redis everything is scanned."""

from pathlib import Path

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.scan_worker.configuration import Cache
from services.scan_worker.verdicts import Verdict, dump, load


class CacheError(Exception):
    """Redis has not answered, or not what it should. Its text holds no secret."""


def _password(path: Path | None) -> str | None:
    try:
        return path.read_text().strip() if path else None
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {type(error).__name__}") from None


class Verdicts:
    """What was found before. Each method is one round trip, bounded by the settings' timeout."""

    def __init__(self, settings: Cache) -> None:
        self._settings = settings
        self._password: str | None = None
        self._client: redis.Redis | None = None

    def _connected(self) -> redis.Redis:
        password = _password(self._settings.password_file)
        if self._client is None or password != self._password:
            # With a new password in the Secret, what is connected with the old one is left to the garbage collector.
            seconds = self._settings.timeout_seconds
            self._password = password
            self._client = redis.Redis(
                host=self._settings.host,
                port=self._settings.port,
                username=self._settings.username,
                password=password,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                retry=Retry(NoBackoff(), 1),
                max_connections=50,
            )
        return self._client

    async def get(self, epoch: str, sha256: str) -> Verdict | None:
        """The verdict that is kept, None if there is none. Raises CacheError."""
        try:
            text = await self._connected().get(_key(epoch, sha256))
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise CacheError(type(error).__name__) from None
        return None if text is None else load(text)

    async def put(self, epoch: str, sha256: str, verdict: Verdict) -> None:
        """Keep a verdict. Raises CacheError."""
        try:
            await self._connected().set(_key(epoch, sha256), dump(verdict), ex=self._settings.keep_seconds)
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise CacheError(type(error).__name__) from None

    async def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            await self._client.aclose()


def _key(epoch: str, sha256: str) -> str:
    return f"scan-worker:{epoch}:{sha256}"
