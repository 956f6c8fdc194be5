"""Who applies `dist/`, and where."""
# ruff: noqa: RUF009 - what option and required return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from infrastructure import operators
from kit.formats import Label, Url
from kit.options import Entries, Section, Text, option, required


class Operator(StrEnum):
    """The programs that the platform stands on."""

    CERT_MANAGER = operators.CERT_MANAGER.name
    CLOUDNATIVE_PG = operators.CLOUDNATIVE_PG.name
    BARMAN_CLOUD_PLUGIN = operators.BARMAN_CLOUD_PLUGIN.name
    MINIO_OPERATOR = operators.MINIO_OPERATOR.name
    TRAEFIK = operators.TRAEFIK.name
    KEDA = operators.KEDA.name


Repository = Annotated[
    str,
    Text(
        "the URL of a Git repository",
        r"https://[!-?A-~]{1,300}|ssh://[!-~]{1,300}",
        "https://git.example.com/chat/matrix-platform.git",
        mistakes={
            r"https://[^/]*@.*": "holds a user name or password, which belongs into a Secret of the tool",
            "[^:/]+@.*": "is not a URL",
        },
        mend=lambda text: f"ssh://{text.replace(':', '/', 1)}" if "://" not in text else text,
    ),
]
Revision = Annotated[str, Text("a branch", r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", "main")]
Folder = Annotated[
    str,
    Text(
        "a folder of the repository",
        r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*",
        "dist",
        mistakes={"/.*": "begins with a slash", ".*/": "ends in a slash"},
        mend=lambda text: text.strip("/"),
    ),
]
Charts = Annotated[
    str,
    Text(
        "a registry of charts",
        r"oci://[a-z0-9][!-~]{1,300}",
        "oci://registry.example.com/charts",
        mistakes={"https?://.*": "is not oci://"},
    ),
]
ProfileName = Annotated[str, Text("a profile", "[1-9][0-9]*-ccu", "1000-ccu")]


@frozen(kw_only=True)
class ClusterOptions:
    """One cluster that runs the platform."""

    profile: ProfileName = required("The size that it runs.")
    server: Url = option(
        "https://kubernetes.default.svc",
        "Its API server, as Argo CD knows it. Flux runs in each cluster itself, and applies the folder of its name in `dist/flux/`.",
        otherwise="the cluster that the tool runs in",
    )
    automatic: bool = option(
        False, "Whether what has been committed is applied without anybody's doing, and what was changed by hand is put back."
    )
    prune: bool = option(
        False, "Whether what `dist/` has no more is deleted, last of all. Namespaces, databases, object storage and volumes never are."
    )


ClusterName = Text("a name", "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", "production", mend=str.lower)
Clusters = Annotated[tuple[tuple[str, ClusterOptions], ...], Entries(key=ClusterName, value=Section(ClusterOptions))]


@frozen(kw_only=True)
class GitopsOptions:
    """Argo CD or Flux: with it, `dist/argocd/` and `dist/flux/` hold what they need to know."""

    repository: Repository = required("Where this repository is, as the tool clones it.")
    revision: Revision = option("main", "The branch that is applied.")
    folder: Folder = option("dist", "Where `dist/` stands in it.")
    clusters: Clusters = required("The clusters by a name, each with its profile.")
    argocd_namespace: Label = option("argocd", "Where Argo CD runs.")
    flux_namespace: Label = option("flux-system", "Where Flux runs.")
    charts: Charts | None = option(
        None, "A registry that has the operators' charts, where upstream's cannot be reached.", otherwise="upstream's"
    )
    present: tuple[Operator, ...] = option((), "Operators that the clusters have already: these are not installed.")
