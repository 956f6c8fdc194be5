"""Who may ask for what of the lawful-interception instance, and on whose behalf."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from attrs import frozen

from kit.formats import CountryCode, Every, HttpsUrl, Interval, KeptAge, Line, Officers, TimeOfDay
from kit.options import When, option, section

_ON = When("features.li", True)
_DEPOSITED = When("li.key_deposit", True)


@frozen(kw_only=True)
class SyncOptions:
    """When li_sync does by itself what keeps this instance current. Its tasks have these names on its page, in its metrics and in its alerts."""

    prepare: Every = option(Interval("1h"), "How often it is seen to that main publishes what it should, and what a new Synapse has added.")
    verify: Every = option(Interval("5m"), "How often both databases are compared: positions, numbers of rows, hashes of samples.")
    mirror_new_media: Every = option(Interval("5s"), "How often uploads are looked for that are not here yet.")
    mirror_media: Every = option(
        Interval("1h"),
        "How often both buckets are compared whole: what is missing or changed is copied, what main has deleted goes in its time.",
    )
    refresh: TimeOfDay = option(
        "03:30", "When Synapse of this instance starts anew each day, which takes seconds, and forgets what it has in memory."
    )


@frozen(kw_only=True)
class LiOptions:
    """Lawful interception: nothing is read but under a case that one officer requests and another approves. docs/07-LI-OPERATIONS.md."""

    officers: Officers = option(
        (),
        "Each officer by the common name of their client certificate: their name and what they may do. Somebody must be able to approve what "
        "another has requested.",
        otherwise="`{}`",
        needed_with=_ON,
    )
    country_code: CountryCode | None = option(None, "Country of the operator, in exported cases.", needed_with=_ON)
    owner: Line | None = option(None, "What the authorities call the operator, in exported cases.", needed_with=_ON)
    sync: SyncOptions = section(SyncOptions, only_with=_ON)
    keep_deleted_media: KeptAge = option(
        "0d", "How long media stays on this instance that is deleted on the main one, from the comparison on that finds it deleted."
    )
    keep_redacted_originals: bool = option(
        False,
        "Whether the original of a message that somebody has taken back is kept for ever, of everybody and on the main instance too, whose data "
        "this one shows: `homeserver.redaction_retention` has no effect then. It is a decision about people's rights, and they must be told.",
    )
    key_deposit: bool = option(
        False, "Whether clients can deposit recovery keys, sealed for the authority. Users must be told; `notice_url` is where."
    )
    notice_url: HttpsUrl | None = option(
        None, "The page that tells users who can read what, and on what grounds.", only_with=_DEPOSITED, needed_with=_DEPOSITED
    )
