"""The HTTP side: who may ask, how much at once, and which status says what. `openapi.yaml` beside this file describes it."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from importlib import resources
from typing import Any

import yaml
from aiohttp import web
from attrs import frozen
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.scan_worker.admission import Admission, BusyError
from services.scan_worker.cache import CacheError, Verdicts
from services.scan_worker.clamd import Clamd
from services.scan_worker.configuration import Configuration, Receive
from services.scan_worker.engines import CHUNK, Engine
from services.scan_worker.files import Watched, is_known, parse_allowed, parse_tokens
from services.scan_worker.icap import Icap
from services.scan_worker.metrics import Metrics
from services.scan_worker.scanner import Outcome, Scanner, TooLargeError
from services.scan_worker.verdicts import CLEAN, Verdict

_log = logging.getLogger("scan-worker")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _SlowSenderError(Exception):
    """The body did not come in time."""


class _BrokenBodyError(Exception):
    """The body is not one, or its sender has hung up."""


@frozen
class Service:
    """Everything that a request needs."""

    settings: Configuration
    scanner: Scanner
    admission: Admission
    metrics: Metrics
    tokens: Watched[tuple[bytes, ...]]
    allowed: Watched[frozenset[str]] | None
    cache: Verdicts | None

    @classmethod
    def of(cls, settings: Configuration) -> "Service":
        """Make the service of a settings file. Raises ValueError that says which other file cannot be used."""
        engines = engines_of(settings)
        limits = settings.concurrency
        admission = Admission(limits.scans, limits.queue, limits.queue_seconds)
        service = cls(
            settings=settings,
            scanner=Scanner(engines, settings.max_bytes),
            admission=admission,
            metrics=Metrics(engines, admission),
            tokens=Watched(settings.token_file, parse_tokens),
            allowed=Watched(settings.allow_list_file, parse_allowed) if settings.allow_list_file else None,
            cache=Verdicts(settings.cache) if settings.cache else None,
        )
        service.tokens.value()
        service.is_allowed("")
        return service

    def is_allowed(self, sha256: str) -> bool:
        """Whether people have found a file to be harmless."""
        return self.allowed is not None and sha256 in self.allowed.value()

    async def recall(self, sha256: str) -> Verdict | None:
        """What is kept of a file."""
        epoch = self.scanner.epoch
        if self.cache is None or epoch is None:
            return None
        try:
            return await self.cache.get(epoch, sha256)
        except CacheError as error:
            self._cache_failed(error)
            return None

    async def remember(self, outcome: Outcome, verdict: Verdict) -> None:
        """Keep what was found of a file, if it is known with which signatures."""
        if self.cache is not None and outcome.epoch is not None:
            try:
                await self.cache.put(outcome.epoch, outcome.sha256, verdict)
            except CacheError as error:
                self._cache_failed(error)

    def _cache_failed(self, error: CacheError) -> None:
        self.metrics.cache_errors.inc()
        _log.warning("the cache does not answer", extra={"fields": {"reason": str(error)}})


def engines_of(settings: Configuration) -> Sequence[Engine]:
    """The engines that a settings file names."""
    engines: list[Engine] = []
    if at := settings.clamd:
        engines.append(Clamd(at.addresses, at.connect_seconds, at.probe_seconds, at.reply_seconds))
    engines += [Icap(one.name, one.url, one.connect_seconds, one.reply_seconds) for one in settings.icap]
    return engines


SERVICE = web.AppKey("service", Service)


def _failure(status: int, code: str, message: str, retry_after: int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="scan-worker"'
    return web.json_response({"verdict": "error", "code": code, "message": message}, status=status, headers=headers)


def _answer(sha256: str, verdict: Verdict, source: str) -> dict[str, Any]:
    body: dict[str, Any] = {"verdict": "infected" if verdict.infected else "clean", "sha256": sha256, "source": source}
    if verdict.infected:
        body |= {"signature": verdict.signature, "engine": verdict.engine}
    return body


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse who has no token, and put every failure in the same form."""
    service = request.app[SERVICE]
    try:
        if request.path.startswith("/v1/") and not is_known(request.headers.get("Authorization", ""), service.tokens.value()):
            service.metrics.refused.labels("unauthorized").inc()
            return _failure(401, "unauthorized", "give a token that is known here: Authorization: Bearer <token>")
        return await handler(request)
    except web.HTTPException as error:
        response = _failure(error.status, error.reason.lower().replace(" ", "_"), error.reason)
        if allow := error.headers.get("Allow"):
            response.headers["Allow"] = allow
        return response
    except asyncio.CancelledError:
        raise
    except Exception as error:
        service.metrics.refused.labels("internal").inc()
        _log.exception("a request failed", extra={"fields": {"path": request.path}})
        return _failure(500, "internal", f"an error of the scan worker itself ({type(error).__name__}); its log has more")


async def _body(request: web.Request, limits: Receive) -> AsyncIterator[bytes]:
    """The bytes of a body as they come. Raises _SlowSenderError and _BrokenBodyError."""
    deadline = asyncio.get_running_loop().time() + limits.total_seconds
    while True:
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(limits.idle_seconds, left)):
                chunk = await request.content.readany()
        except TimeoutError:
            raise _SlowSenderError from None
        except (web.RequestPayloadError, OSError, asyncio.IncompleteReadError, EOFError):
            raise _BrokenBodyError from None
        if not chunk:
            if not request.content.is_eof():
                raise _BrokenBodyError
            return
        for start in range(0, len(chunk), CHUNK):
            yield chunk[start : start + CHUNK]


async def scan(request: web.Request) -> web.StreamResponse:
    """POST /v1/scan: a file as the body."""
    service = request.app[SERVICE]
    settings, refused = service.settings, service.metrics.refused
    again = settings.concurrency.retry_after_seconds

    def refuse(status: int, code: str, message: str, retry_after: int | None = None) -> web.Response:
        refused.labels(code).inc()
        response = _failure(status, code, message, retry_after)
        # Of a body that nobody will read nothing more is taken.
        response.force_close()
        return response

    if request.headers.get("Content-Encoding", "identity") != "identity":
        return refuse(415, "encoded", "send the file as it is, without Content-Encoding")
    if (request.content_length or 0) > settings.max_bytes:
        return refuse(413, "too_large", f"files of more than {settings.max_bytes} bytes are not scanned")
    try:
        async with service.admission.place():
            begun = time.monotonic()
            outcome = await service.scanner.scan(_body(request, settings.receive))
            seconds = time.monotonic() - begun
    except BusyError:
        return refuse(503, "busy", "too many files are being scanned", again)
    except TooLargeError:
        return refuse(413, "too_large", f"files of more than {settings.max_bytes} bytes are not scanned")
    except _SlowSenderError:
        return refuse(408, "too_slow", "the file did not come in time")
    except _BrokenBodyError:
        return refuse(400, "broken_body", "the body ended early or is malformed")
    for error in outcome.errors:
        service.metrics.engine_errors.labels(error.engine, str(error.trouble)).inc()
        _log.warning("an engine failed", extra={"fields": {"engine": error.engine, "reason": str(error)}})
    verdict = outcome.verdict
    if verdict is None:
        return refuse(503, "no_verdict", "no engine could tell: " + "; ".join(f"{e.engine}: {e.trouble}" for e in outcome.errors), again)
    service.metrics.bytes.inc(outcome.size)
    service.metrics.seconds.observe(seconds)
    await service.remember(outcome, verdict)
    source, verdict = ("allowed", CLEAN) if verdict.infected and service.is_allowed(outcome.sha256) else ("scan", verdict)
    body = _answer(outcome.sha256, verdict, source)
    service.metrics.files.labels(body["verdict"], source).inc()
    log = _log.warning if verdict.infected else _log.info
    log("scanned", extra={"fields": {**body, "bytes": outcome.size, "seconds": round(seconds, 3)}})
    return web.json_response({**body, "bytes": outcome.size})


async def known_verdict(request: web.Request) -> web.StreamResponse:
    """GET /v1/verdicts/{sha256}: what is known of a file without having it."""
    service, sha256 = request.app[SERVICE], request.match_info["sha256"]
    if not _SHA256.match(sha256):
        return _failure(400, "not_a_digest", "give the SHA-256 of the file, 64 hexadecimal digits in lower case")
    source, verdict = "cache", await service.recall(sha256)
    if service.is_allowed(sha256):
        source, verdict = "allowed", CLEAN
    if verdict is None:
        return _failure(404, "unknown", "no verdict is kept of this file under the present signatures")
    body = _answer(sha256, verdict, source)
    service.metrics.files.labels(body["verdict"], source).inc()
    (_log.warning if verdict.infected else _log.info)("answered from what is known", extra={"fields": body})
    return web.json_response(body)


async def health(_: web.Request) -> web.StreamResponse:
    """GET /health: the process answers."""
    return web.json_response({"status": "ok"})


async def ready(request: web.Request) -> web.StreamResponse:
    """GET /ready: every engine answers."""
    service = request.app[SERVICE]
    engines = {engine.name: dict(engine.addresses) for engine in service.scanner.engines}
    ok = service.scanner.ready
    return web.json_response({"status": "ok" if ok else "no engine answers", "engines": engines}, status=200 if ok else 503)


async def metrics(request: web.Request) -> web.StreamResponse:
    """GET /metrics, for Prometheus."""
    text = generate_latest(request.app[SERVICE].metrics.registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def openapi_document() -> dict[str, Any]:
    """The description of this service."""
    document: dict[str, Any] = yaml.safe_load((resources.files(__package__) / "openapi.yaml").read_text())
    return document


async def openapi(_: web.Request) -> web.StreamResponse:
    """GET /openapi.json."""
    return web.json_response(openapi_document())


async def _look_after(app: web.Application) -> AsyncIterator[None]:
    """Check the engines for as long as the service runs."""
    service = app[SERVICE]

    async def forever() -> None:
        while True:
            was = service.scanner.ready
            try:
                await service.scanner.check()
            except Exception:
                _log.exception("a check of the engines failed")
            if was != service.scanner.ready:
                _log.warning("all engines answer" if service.scanner.ready else "an engine does not answer")
            await asyncio.sleep(service.settings.check_seconds)

    task = asyncio.create_task(forever())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    if service.cache:
        await service.cache.close()


def application(service: Service) -> web.Application:
    """The service as an aiohttp application."""
    app = web.Application(middlewares=[_guard])
    app[SERVICE] = service
    app.add_routes(
        [
            web.post("/v1/scan", scan),
            web.get("/v1/verdicts/{sha256}", known_verdict, allow_head=False),
            web.get("/health", health, allow_head=False),
            web.get("/ready", ready, allow_head=False),
            web.get("/metrics", metrics, allow_head=False),
            web.get("/openapi.json", openapi, allow_head=False),
        ]
    )
    app.cleanup_ctx.append(_look_after)
    return app
