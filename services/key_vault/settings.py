"""Django's settings, from the installation's (configuration.py). Nothing here is a choice of a site."""

import os
from typing import Any
from urllib.parse import urlsplit

from services.key_vault.configuration import Database, read_database, read_source

_source = read_source(os.environ)


def _postgresql(database: Database, **options: str) -> dict[str, Any]:
    checked = {"sslmode": "verify-full", "sslrootcert": database.ca_file} if database.ca_file else {"sslmode": "prefer"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": database.host,
        "PORT": str(database.port),
        "NAME": database.name,
        "USER": database.user,
        "PASSWORD": database.password,
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **checked,
            "connect_timeout": 5,
            # A primary that vanished without a word is noticed within a minute (tcp_user_timeout: in ms).
            "keepalives_idle": 10,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "application_name": "key-vault",
            # A writer that waits for the log's lock gives up before whoever asked does.
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    }


DATABASES = {"default": _postgresql(read_database(_source), lock_timeout="10s", statement_timeout="60s")}
if "synapse_database_host" in _source.values:
    DATABASES["synapse"] = _postgresql(read_database(_source, "synapse_"), statement_timeout="10s", default_transaction_read_only="on")
DATABASE_ROUTERS = ["services.key_vault.settings.OnlyDefault"]
_source.close()

_secret_key_file = _source.values.get("secret_key_file")
# Commands that serve nobody (migrate, verify-audit) run without it; `configuration.service` demands it of the server.
SECRET_KEY = "" if _secret_key_file is None else open(_secret_key_file, encoding="ascii").read().strip()  # noqa: PTH123, SIM115
SECRET_KEY = SECRET_KEY or "serves-nobody"
DEBUG = False
ALLOWED_HOSTS = [urlsplit(str(_source.values.get("public_url", ""))).hostname or "localhost"]
CSRF_TRUSTED_ORIGINS = [str(_source.values.get("public_url", "")).rstrip("/")] if "public_url" in _source.values else []

INSTALLED_APPS = ["services.key_vault.apps.KeyVault"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = ["services.key_vault.listeners.Listeners", "django.middleware.csrf.CsrfViewMiddleware"]
ROOT_URLCONF = "services.key_vault.urls.nothing"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {}}]
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
APPEND_SLASH = False
LANGUAGE_CODE = "en"
DATETIME_FORMAT = "Y-m-d H:i e"

CSRF_COOKIE_NAME = "__Host-csrf"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "services.key_vault.pages.csrf_failure"

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
FILE_UPLOAD_HANDLERS: list[str] = []

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "services.key_vault.logs.JsonFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {"django": {"handlers": [], "propagate": True, "level": "WARNING"}},
}


class OnlyDefault:
    """Migrations concern the vault's own database. Synapse's is read by two queries (rooms.py) and has none of our tables."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:  # noqa: ARG002
        """Whether migrations run there."""
        return db == "default"
