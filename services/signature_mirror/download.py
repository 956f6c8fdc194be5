"""ClamAV's own databases by cvdupdate, which asks its DNS for the newest version and fetches what is missing, as its CDN asks of mirrors."""

from pathlib import Path

from cvdupdate.cvdupdate import CVDUpdate


class _Updater(CVDUpdate):  # type: ignore[misc]
    """cvdupdate without its question to PyPI for a newer version of itself: the mirror talks to ClamAV and to nobody else."""

    def pypi_update_check(self) -> bool:
        return True


def download(folder: Path, nameserver: str = "") -> Path:
    """Bring the databases below `folder` up to date. Returns the folder that they are in. Raises OSError.

    What cannot be fetched stays as it was and is logged by cvdupdate; the run then raises ConnectionError.
    """
    databases = folder / "database"
    updater = _Updater(config=str(folder / "config.json"), log_dir=str(folder / "logs"), db_dir=str(databases), nameserver=nameserver)
    errors = updater.db_update()
    if errors:
        raise ConnectionError(f"{errors} of ClamAV's databases could not be brought up to date")
    return databases
