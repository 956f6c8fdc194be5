"""gunicorn, set up by the installation's settings. One process with threads: its metrics are whole, and a pod is small; replicas are for more."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from services.key_vault.configuration import service

_LOGGER = {"handlers": ["stdout"], "level": "INFO", "propagate": False}
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "services.key_vault.logs.JsonFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {"gunicorn.error": _LOGGER, "gunicorn.access": {**_LOGGER, "level": "WARNING"}},
}


class Server(BaseApplication):  # type: ignore[misc]  # It has no types.
    """The WSGI server and its application."""

    def load_config(self) -> None:
        """Set gunicorn's options."""
        settings = service()
        ports = settings.ports
        options: dict[str, Any] = {
            "bind": [f"{settings.listen_address}:{port}" for port in (ports.intake, ports.officer, ports.access, ports.metrics)],
            "workers": 1,
            "worker_class": "gthread",
            "threads": settings.threads,
            "worker_tmp_dir": "/dev/shm",  # in memory: a heartbeat file on a disk that hangs would kill the worker
            "timeout": 90,
            "graceful_timeout": 20,
            "keepalive": 5,
            "limit_request_line": 6000,
            "limit_request_fields": 60,
            "limit_request_field_size": 8190,
            # Nothing that a client sends decides where a request came from or which path it is for.
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "header_map": "drop",
            "control_socket_disable": True,
            "proc_name": "key-vault",
            "accesslog": None,
            "logconfig_dict": _LOGGING,
            "when_ready": _announce,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        """Make the application, in the worker."""
        from django.core.wsgi import get_wsgi_application

        application = get_wsgi_application()
        from services.key_vault.listeners import listeners

        for listener in listeners(service()).values():
            import_module(listener.urlconf)  # What is wrong with them shows at the start, not at the first request.
        return application


def _announce(_: Arbiter) -> None:
    """Publish the head that the log has now, so that each start leaves one."""
    import django
    from django.db import Error, connections

    django.setup()
    from services.key_vault import ledger, logs

    try:
        logs.publish(ledger.head())
    except Error:
        logs.event("the database does not answer yet: no head is published")
    finally:
        # The worker is a fork of this process, and must not share its connection.
        connections.close_all()
