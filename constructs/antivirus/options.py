"""How a site scans the files that its users send."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum

from attrs import frozen

from kit.formats import Cidr, IcapServers, Sha256
from kit.options import option

CLAMAV, ICAP = "clamav", "icap"
"""The ways out of the cluster to ClamAV's signatures and to further engines."""
UNPACKED = 4
"""How many times the size of the largest file may be unpacked of one."""


class Mode(StrEnum):
    """When a file is scanned."""

    BLOCK = "block"
    QUARANTINE = "quarantine"


class Unavailable(StrEnum):
    """What happens to a file about which nobody can tell."""

    FAIL_CLOSED = "fail_closed"
    FAIL_OPEN = "fail_open"


class Engines(StrEnum):
    """Where clamd runs."""

    EVERY_NODE = "every-node"
    REPLICAS = "replicas"


class Signatures(StrEnum):
    """Where ClamAV's signatures come from."""

    INTERNET = "internet"
    BUNDLE = "bundle"


@frozen(kw_only=True)
class AntivirusOptions:
    """Scanning of files by ClamAV."""

    mode: Mode = option(
        Mode.BLOCK,
        "`block`: an upload waits for the verdict, and malware is refused. `quarantine`: uploads do not wait, and what is found afterwards is "
        "quarantined; until then it can be downloaded.",
    )
    when_unavailable: Unavailable = option(
        Unavailable.FAIL_CLOSED,
        "What happens to a file when no verdict can be had. `fail_closed`: it is refused. `fail_open`: it is let through, and counted.",
    )
    engines: Engines = option(
        Engines.EVERY_NODE,
        "`every-node`: a clamd on each node of the cluster, which scan workers of that node ask. `replicas`: as many as the profile says, for a "
        "cluster of many or of small nodes; files then cross the network once more.",
    )
    refuse_encrypted: bool = option(
        True, "Whether archives and documents that only a password opens are refused, since nobody can look into them."
    )
    signatures: Signatures = option(
        Signatures.INTERNET,
        "`internet`: a CronJob fetches them from ClamAV. `bundle`: it takes those that you put into the volume of the mirror "
        "(docs/06-AIR-GAPPED-SETUP.md).",
        opens=(CLAMAV,),
    )
    encrypted: bool = option(
        False,
        "Whether files of encrypted rooms are scanned as they are downloaded, for clients that ask for it. Their client hands over the key of the "
        "file: whoever runs the platform could then read it. The key of a file, never those of messages.",
    )
    allowed_files: tuple[Sha256, ...] = option((), "Files that are let through whatever an engine says, by their SHA-256: false positives.")
    icap: IcapServers = option(
        (), "Further engines, by name, that speak ICAP. What any of them finds is malware.", otherwise="`{}`", opens=(ICAP,)
    )
    icap_cidrs: tuple[Cidr, ...] = option(
        (), "Addresses of these engines. Empty: any private or public one, on the ports of `icap`.", opens=(ICAP,)
    )
