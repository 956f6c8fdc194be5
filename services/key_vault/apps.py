"""Django's handle on this package."""

from django.apps import AppConfig


class KeyVault(AppConfig):
    """The one application of the vault."""

    name = "services.key_vault"
    label = "key_vault"
