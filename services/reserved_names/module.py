"""The Synapse module that keeps a prefix of user names free: `module: services.reserved_names.module.ReservedNames`.

Accounts of officers exist on the lawful-intercept instance alone. One of the same name here would be replicated there, and the replication
would stop. Every way to an account comes by this question: registration, its administration by shared secret or token, single sign-on, and
the Matrix Authentication Service (synapse/handlers/register.py, register_user).
"""

from collections.abc import Mapping
from typing import Any

from synapse.module_api import ModuleApi
from synapse.module_api.errors import ConfigError
from synapse.spam_checker_api import RegistrationBehaviour


class ReservedNames:
    """Refuses names that begin with the prefix."""

    def __init__(self, prefix: str, api: ModuleApi) -> None:
        self._prefix = prefix
        api.register_spam_checker_callbacks(check_registration_for_spam=self.check_registration_for_spam)

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> str:
        """The prefix. Raises ConfigError."""
        prefix = config.get("prefix")
        if config.keys() != {"prefix"} or not isinstance(prefix, str) or not prefix:
            raise ConfigError("the module ReservedNames has one option, prefix: what reserved user names begin with, such as li-")
        return prefix

    async def check_registration_for_spam(
        self, _email: object, username: str | None, _requests: object, _provider: str | None = None
    ) -> RegistrationBehaviour:
        """Synapse's question. The answer to whoever registers is 429."""
        reserved = username is not None and username.lower().startswith(self._prefix)
        return RegistrationBehaviour.DENY if reserved else RegistrationBehaviour.ALLOW
