"""clamd.conf and freshclam.conf: pure functions of a specification. Written for ClamAV 1.4 (clamd.conf(5), freshclam.conf(5))."""

from attrs import frozen

from antivirus.options import UNPACKED
from kit.files import text
from kit.quantities import Bytes

FOLDER = "/etc/clamav"
DATABASES = "/var/lib/clamav"
PORT = 3310
STATE = "platform.hsb"
"""The platform's own signature, which the mirror publishes last: who has it has all the others."""


@frozen
class ClamAvSpec:
    """`mirror`: the URL of the signature mirror. `max_upload`: the largest file that Synapse takes. `scans`: files at once."""

    mirror: str
    max_upload: Bytes
    scans: int
    scans_while_loading: bool
    refuse_encrypted: bool

    @property
    def temporary(self) -> Bytes:
        """What it may have on disk: of each file that is scanned the file itself and what is unpacked of it."""
        return self.max_upload * ((1 + UNPACKED) * self.scans)


def files(spec: ClamAvSpec) -> dict[str, str]:
    """What the pods mount, by file name."""
    return {
        "clamd.conf": _lines(_clamd(spec)),
        "freshclam.conf": _lines(_freshclam(spec)),
        **{name: text(__package__, name) for name in ("start.sh", "update.sh")},
    }


def _clamd(spec: ClamAvSpec) -> list[tuple[str, object]]:
    # Of a file in an archive that is larger than MaxFileSize clamd scans the beginning and says OK: so it is as large as MaxScanSize.
    largest, unpacked = spec.max_upload.count, UNPACKED * spec.max_upload.count
    return [
        ("Foreground", "yes"),
        ("LogTime", "yes"),
        ("TCPSocket", PORT),
        ("TCPAddr", "0.0.0.0"),
        ("DatabaseDirectory", DATABASES),
        ("TemporaryDirectory", "/tmp"),
        ("StreamMaxLength", largest),
        ("MaxFileSize", unpacked),
        ("MaxScanSize", unpacked),
        ("MaxScanTime", 60_000),
        ("MaxThreads", spec.scans),
        ("MaxQueue", 200),
        # Otherwise it answers OK for what it has not scanned: files over a limit, and the last of too many in an archive.
        ("AlertExceedsMax", "yes"),
        # Nobody can look into an encrypted archive or document.
        ("AlertEncrypted", "yes" if spec.refuse_encrypted else "no"),
        ("ConcurrentDatabaseReload", "yes" if spec.scans_while_loading else "no"),
        ("SelfCheck", 600),
        ("IdleTimeout", 60),
        ("ReadTimeout", 30),
        ("CommandReadTimeout", 30),
    ]


def _freshclam(spec: ClamAvSpec) -> list[tuple[str, object]]:
    return [
        ("DatabaseDirectory", DATABASES),
        ("PrivateMirror", spec.mirror),
        ("DatabaseCustomURL", f"{spec.mirror}/{STATE}"),
        ("NotifyClamd", f"{FOLDER}/clamd.conf"),
        ("ConnectTimeout", 10),
        ("ReceiveTimeout", 60),
        ("MaxAttempts", 1),
        # It would load them a second time, in as much memory as clamd's own.
        ("TestDatabases", "no"),
    ]


def _lines(settings: list[tuple[str, object]]) -> str:
    return "".join(f"{name} {value}\n" for name, value in settings)
