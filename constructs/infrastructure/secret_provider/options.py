"""Who makes the Secrets of a site."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Name
from kit.options import When, option, required


class SecretProvider(StrEnum):
    """Who makes the Secrets."""

    GENERATE = "generate"
    EXTERNAL = "external"
    MANUAL = "manual"


_EXTERNAL = When("secrets.provider", SecretProvider.EXTERNAL)


class StoreKind(StrEnum):
    """The kinds of store of the External Secrets Operator."""

    CLUSTER_SECRET_STORE = "ClusterSecretStore"
    SECRET_STORE = "SecretStore"


@frozen(kw_only=True)
class SecretStore:
    """The store of the External Secrets Operator."""

    name: Name = required("Its name.")
    kind: StoreKind = option(StoreKind.CLUSTER_SECRET_STORE, "Its kind.")


@frozen(kw_only=True)
class SecretsOptions:
    """Who makes the Secrets. No secret value is ever in site.yaml or in the output."""

    provider: SecretProvider = option(
        SecretProvider.GENERATE,
        "`generate`: a Job in the cluster makes what is missing. `external`: ExternalSecrets fetch them. "
        "`manual`: you apply them before anything else.",
    )
    store: SecretStore | None = option(None, only_with=_EXTERNAL, needed_with=_EXTERNAL)
