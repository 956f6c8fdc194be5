"""The module that Synapse loads: `module: services.synapse_antivirus.module.Antivirus`.

Synapse asks `check_media_file_for_spam` for each file that it is about to store: uploads, remote media, thumbnails and what URL previews
fetch. A refused file leaves neither file nor row. The questions to the scan workers are asked in threads of the module's own.
"""

import contextlib
import logging
import threading
import time
from functools import partial
from io import BufferedReader
from typing import Any

from prometheus_client import Counter, Histogram
from synapse.logging.context import current_context
from synapse.module_api import NOT_SPAM, ModuleApi
from synapse.module_api.errors import Codes, ConfigError, SynapseError
from twisted.python.threadpool import ThreadPool

from services.synapse_antivirus.client import NoVerdictError, Reason, Verdict, quarantine, verdict_of
from services.synapse_antivirus.configuration import Mode, Settings, Unavailable, parse

logger = logging.getLogger(__name__)

_QUARANTINE_SECONDS = 60.0

# In Synapse's own registry, which its metrics listeners serve.
_files = Counter("synapse_antivirus_files", "Files with a verdict.", ["verdict", "origin"])
_failed = Counter(
    "synapse_antivirus_failed", "Files without a verdict, by the reason, and whether they were let through.", ["reason", "let_through"]
)
_quarantined = Counter("synapse_antivirus_quarantined", "Files that were to be quarantined, and whether they are.", ["done"])
_seconds = Histogram(
    "synapse_antivirus_seconds", "From the question to the verdict.", buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
)
for _verdict in ("clean", "infected"):
    for _origin in ("local", "remote"):
        _files.labels(_verdict, _origin)
for _reason in Reason:
    for _let_through in ("yes", "no"):
        _failed.labels(_reason, _let_through)
for _done in ("yes", "no"):
    _quarantined.labels(_done)


class Antivirus:
    """Has each file scanned before Synapse stores it, or just after."""

    def __init__(self, config: Settings, api: ModuleApi) -> None:
        self._settings, self._api = config, api
        self._waiting = 0
        # It starts no thread before the first file: most of Synapse's processes never see one. A daemon thread does not hold up the end
        # of the process, which cuts off its uploads anyway.
        self._threads = ThreadPool(minthreads=0, maxthreads=config.max_concurrent, name="antivirus")
        self._threads.threadFactory = partial(threading.Thread, daemon=True)
        self._threads.start()
        api.register_spam_checker_callbacks(check_media_file_for_spam=self.check_media_file_for_spam)

    @staticmethod
    def parse_config(config: dict[str, Any] | None) -> Settings:
        """Read the section of homeserver.yaml. Synapse prints what is wrong with it and does not start."""
        try:
            return parse(config)
        except ValueError as error:
            raise ConfigError(f"antivirus: {error}") from None

    async def check_media_file_for_spam(self, file_wrapper: Any, file_info: Any) -> Any:
        """Synapse's question. Returns NOT_SPAM, or raises the SynapseError that the client gets."""
        if file_info.thumbnail:
            # Synapse has made it itself, of a file that was scanned.
            return NOT_SPAM
        about = _about(file_info)
        local = file_info.server_name is None and not file_info.url_cache
        # The file is open before it is stored: it may be gone from the disk, to object storage, before it is scanned.
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(await self._api.defer_to_threadpool(self._threads, open, file_wrapper.path, "rb"))
            if self._settings.mode is Mode.QUARANTINE and local and self._waiting < self._settings.max_background:
                self._waiting += 1
                self._api.run_as_background_process("antivirus", self._scan_stored, opened.pop_all(), file, file_info.file_id, about)
                return NOT_SPAM
            try:
                verdict = await self._verdict(file, about)
            except NoVerdictError as error:
                if self._lets_through(error, about):
                    return NOT_SPAM
                raise _refusal(error, self._settings.max_bytes) from None
            if verdict.signature is not None:
                # Nobody but the one who waits for this answer can be told: there is no event yet, and no room.
                raise SynapseError(403, f"This file was refused by the antivirus: {verdict.signature}", errcode=Codes.FORBIDDEN)
            return NOT_SPAM

    async def _verdict(self, file: BufferedReader, about: dict[str, str]) -> Verdict:
        begun = time.monotonic()
        verdict: Verdict = await self._api.defer_to_threadpool(
            self._threads, verdict_of, self._settings, file, begun + self._settings.timeout_seconds
        )
        _seconds.observe(time.monotonic() - begun)
        _files.labels("clean" if verdict.signature is None else "infected", about["origin"]).inc()
        if verdict.signature is not None:
            # The fields stand in the line, and beside it where logs are JSON (synapse.logging.TerseJsonFormatter).
            fields = {**about, "signature": verdict.signature, "sha256": verdict.sha256}
            logger.warning(
                "Malware found: signature %s, %s, sha256 %s", verdict.signature, _words(about), verdict.sha256, extra={"antivirus": fields}
            )
        return verdict

    def _lets_through(self, error: NoVerdictError, about: dict[str, str]) -> bool:
        let_through = self._settings.when_unavailable is Unavailable.FAIL_OPEN
        _failed.labels(error.reason, "yes" if let_through else "no").inc()
        logger.error("No verdict (%s), so the file was %s: %s", error, "let through unscanned" if let_through else "refused", _words(about))
        return let_through

    async def _scan_stored(self, opened: contextlib.ExitStack, file: BufferedReader, media_id: str, about: dict[str, str]) -> None:
        """Scan a file that Synapse has stored meanwhile, and quarantine it if it must not stay."""
        try:
            with opened:
                wanted = (await self._verdict(file, about)).signature is not None
        except NoVerdictError as error:
            wanted = self._settings.when_unavailable is Unavailable.FAIL_CLOSED
            _failed.labels(error.reason, "no" if wanted else "yes").inc()
            logger.error("No verdict (%s), so the file %s: %s", error, "is quarantined" if wanted else "stays", _words(about))
        finally:
            self._waiting -= 1
        if wanted and self._settings.quarantine is not None:
            done = await self._api.defer_to_threadpool(
                self._threads,
                quarantine,
                self._settings.quarantine,
                self._api.server_name,
                media_id,
                time.monotonic() + _QUARANTINE_SECONDS,
            )
            _quarantined.labels("yes" if done else "no").inc()
            if done:
                logger.warning("Quarantined: %s", _words(about))
            else:
                logger.error("Could not be quarantined, or was never stored: %s", _words(about))


def _refusal(error: NoVerdictError, max_bytes: int) -> SynapseError:
    if error.reason is Reason.TOO_LARGE:
        return SynapseError(413, f"Files of more than {max_bytes} bytes cannot be scanned for malware", errcode=Codes.TOO_LARGE)
    sentence = "This file could not be scanned for malware, and was not stored: try again later"
    return SynapseError(503, sentence, errcode=Codes.UNKNOWN, headers={"Retry-After": "10"})


def _about(file_info: Any) -> dict[str, str]:
    """Which file it is, for the log. The one who uploads, or for remote media asks for it, is whom Synapse serves at the moment."""
    request = getattr(current_context(), "request", None)
    server = file_info.server_name
    return {
        "origin": "local" if server is None else "remote",
        "media": f"{server}/{file_info.file_id}" if server else str(file_info.file_id),
        "user": str(getattr(request, "requester", None) or "unknown"),
    }


def _words(about: dict[str, str]) -> str:
    return f"media {about['media']}, {'uploaded' if about['origin'] == 'local' else 'asked for'} by {about['user']}"
