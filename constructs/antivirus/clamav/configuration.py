"""clamd.conf and freshclam.conf: pure functions of a specification. Written for ClamAV 1.4 (clamd.conf(5), freshclam.conf(5))."""

from attrs import frozen

from kit.files import text
from kit.quantities import Bytes

FOLDER = "/etc/clamav"
DATABASES = "/var/lib/clamav"
PORT = 3310
STATE = "platform.hsb"
"""The platform's own signature, which the mirror publishes last: who has it has all the others."""


@frozen
class ClamAvSpec:
    """`max_upload`: the largest file that Synapse takes. `mirror`: the URL of the signature mirror."""

    max_upload: Bytes
    mirror: str
    scans_while_loading: bool


def files(spec: ClamAvSpec) -> dict[str, str]:
    """What the pods mount, by file name."""
    return {"clamd.conf": _lines(_clamd(spec)), "freshclam.conf": _lines(_freshclam(spec)), "start.sh": text(__package__, "start.sh")}


def _clamd(spec: ClamAvSpec) -> list[tuple[str, object]]:
    # What is unpacked may be larger than the file. Of a file in an archive that is larger than MaxFileSize clamd scans the beginning alone.
    largest, unpacked = spec.max_upload.count, 4 * spec.max_upload.count
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
        ("MaxThreads", 10),
        ("MaxQueue", 200),
        # Otherwise it answers OK for what it has not scanned: files over a limit, and the last of too many in an archive.
        ("AlertExceedsMax", "yes"),
        # Nobody can look into an encrypted archive: it is no clean file.
        ("AlertEncryptedArchive", "yes"),
        ("ConcurrentDatabaseReload", "yes" if spec.scans_while_loading else "no"),
        ("SelfCheck", 600),
        ("IdleTimeout", 60),
        ("ReadTimeout", 30),
        ("CommandReadTimeout", 30),
    ]


def _freshclam(spec: ClamAvSpec) -> list[tuple[str, object]]:
    return [
        ("Foreground", "yes"),
        ("DatabaseDirectory", DATABASES),
        ("PrivateMirror", spec.mirror),
        ("DatabaseCustomURL", f"{spec.mirror}/{STATE}"),
        ("NotifyClamd", f"{FOLDER}/clamd.conf"),
        ("Checks", 24),
        ("ConnectTimeout", 10),
        ("ReceiveTimeout", 120),
        ("MaxAttempts", 3),
        # It would load them a second time, in as much memory as clamd's own.
        ("TestDatabases", "no"),
    ]


def _lines(settings: list[tuple[str, object]]) -> str:
    return "".join(f"{name} {value}\n" for name, value in settings)
