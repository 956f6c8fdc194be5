"""How the room of each object storage is shared out, and which is too small for what a site wants it to keep."""

from collections.abc import Iterable

from attrs import frozen

from app.platform import volumes
from app.platform.volumes import Pools, usable
from app.site import Site
from infrastructure.postgresql.options import BackupOptions, BackupStore
from infrastructure.postgresql.retention import Kept, kept, room
from kit.options import OptionError
from kit.quantities import Bytes, gib
from overlays.profile import Profile

UNDELETED_DAYS, UNDELETED_DAYS_OF_A_COPY = 7, 1
"""How long a bucket has a backup that was deleted: time to notice that somebody with its keys has done that."""
_MOST_PERCENT, _MOST_PERCENT_OF_A_COPY = 65, 90
"""Of a store with media, what backups may take. How much of main's media its copy needs, only its owner knows."""
_LOGS_PERCENT = 10
"""Of what backups leave, what logs may take."""


@frozen
class Room:
    """What a store has room for. `usable`: None where others run it; `media` and `logs`: None where it keeps none."""

    store: str
    usable: Bytes | None
    backups: Bytes | None
    media: Bytes | None = None
    logs: Bytes | None = None


@frozen
class Rooms:
    """The stores of a site in a size. Each is None where others run it, or where it is not there."""

    main: Room | None
    backups: Room | None
    li: Room | None

    @property
    def all(self) -> tuple[Room, ...]:
        """Those that there are."""
        return tuple(room for room in (self.main, self.backups, self.li) if room)


@frozen
class _Store:
    """A MinIO. `option`: that which lists its pools; `listed`: whether the site does."""

    name: str
    pools: Pools
    option: str
    listed: bool

    @property
    def usable(self) -> Bytes:
        return usable(self.pools)

    def larger(self, wanted: Bytes) -> str:
        """What to write for a store that has so much."""
        if not self.listed:
            return f"storage_sizes: {{object_storage_drive: {self.pools[0].large_enough(wanted).drive}}}"
        last = self.pools[-1]
        more = last.large_enough(Bytes(wanted.count - self.usable.count))
        return f"one more of {self.option}: {{servers: {more.nodes}, drives: {more.drives}, drive: {more.drive}}}"


def rooms(site: Site, profile: Profile) -> Rooms:
    """The stores of a site. OptionError, with the numbers, says which is too small."""
    own, where = not site.object_storage.external, site.backups.object_storage
    pools, key = site.storage_sizes.pools, "storage_sizes.pools"
    backups = _Archive(profile, volumes.database(site, profile).storage, site.backups, kept(site.backups, UNDELETED_DAYS))
    theirs = site.backups.of_a_copy
    copy = _Archive(profile, volumes.database_li(site, profile).storage, theirs, kept(theirs, UNDELETED_DAYS_OF_A_COPY, besides=0))
    kept_here = not site.postgresql.external
    with_media = kept_here and where.backend is BackupStore.WITH_MEDIA
    apart: Room | None = None
    if where.external:
        apart = Room(where.external.endpoint, None, backups.room)
    elif where.second:
        apart = backups.alone(_Store("minio-backups", volumes.minio_backups(site, profile), f"{key}.backups", bool(pools.backups)))
    elif with_media and site.object_storage.external:
        apart = Room(site.object_storage.external.endpoint, None, backups.room)
    keeps = backups if with_media else None
    media = _Store("minio-main", volumes.minio_main(site, profile), f"{key}.main", bool(pools.main))
    main = _shared(media, keeps, _MOST_PERCENT, logs=site.keeps_logs) if own else None
    li_keeps = None if where.external else copy
    media_li = _Store("minio-li", volumes.minio_li(site, profile), f"{key}.li", bool(pools.li))
    li = _shared(media_li, li_keeps, _MOST_PERCENT_OF_A_COPY) if own and site.features.li else None
    return Rooms(main, apart, li)


def short_copies(site: Site, profiles: Iterable[Profile]) -> dict[str, str]:
    """The profiles whose copy of media for lawful interception is smaller than what may be copied, and what to say of each."""
    said = {profile.name: _short_copy(site, profile) for profile in profiles}
    return {name: text for name, text in said.items() if text}


def _short_copy(site: Site, profile: Profile) -> str | None:
    found, listed = rooms(site, profile), bool(site.storage_sizes.pools.li)
    if not (found.main and found.li and found.main.media and found.li.media) or found.li.media >= found.main.media:
        return None
    backups = found.li.backups or Bytes(0)
    store = _Store("minio-li", volumes.minio_li(site, profile), "storage_sizes.pools.li", listed)
    missing = Bytes(found.main.media.count + backups.count - store.usable.count)
    more = store.pools[-1].large_enough(missing)
    return (
        f"{profile.name}: minio-main may have {_gib(found.main.media)} of media, and minio-li has room for {_gib(found.li.media)} of its copy: what "
        f"is beyond is not there for lawful interception. List its pools in storage_sizes.pools.li, and one more: {{servers: {more.nodes}, drives: "
        f"{more.drives}, drive: {more.drive}}}"
    )


@frozen
class _Archive:
    """The archive of one database, whose `volume` may be full."""

    profile: Profile
    volume: Bytes
    backups: BackupOptions
    most: Kept

    @property
    def room(self) -> Bytes:
        """What it takes."""
        return room(self.volume, self.profile.concurrent_users, self.backups, self.most)

    def alone(self, store: _Store) -> Room:
        """In a store that keeps nothing else."""
        self._check(store, 100)
        return Room(store.name, store.usable, self.room)

    def beside_media(self, store: _Store, most_percent: int) -> Bytes:
        """In a store with media: what it takes of it."""
        self._check(store, most_percent)
        return self.room

    def _check(self, store: _Store, percent: int) -> None:
        needed = self.room
        if needed.count * 100 <= store.usable.count * percent:
            return
        limit = "" if percent == 100 else f", of which backups may take {percent} %, since media are there too"
        raise OptionError(
            "backups.retention",
            f"profile {self.profile.name}: backups come to {_gib(needed)}: {self.most.full_backups} base backups of a database of {self.volume}, and "
            f"{self.most.log_days} days of its write-ahead log. {store.name} has {_gib(store.usable)}{limit}; write a shorter retention, "
            f"{store.larger(Bytes(-(-needed.count * 100 // percent)))}, or an S3 for backups alone (backups.object_storage); a size that you never "
            f"use, remove: overlays/ccu_{self.profile.concurrent_users}.py",
        )


def _shared(store: _Store, archive: _Archive | None, most_percent: int, *, logs: bool = False) -> Room:
    """A store with media: what backups do not need is for media, and a part of it for logs."""
    backups = archive.beside_media(store, most_percent) if archive else None
    left = store.usable.count - (backups.count if backups else 0)
    for_logs = Bytes(left * _LOGS_PERCENT // 100) if logs else None
    return Room(store.name, store.usable, backups, Bytes(left - (for_logs.count if for_logs else 0)), for_logs)


def _gib(amount: Bytes) -> str:
    return f"{amount.count / gib(1).count:.0f}Gi"
