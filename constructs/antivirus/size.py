"""What a profile says of the antivirus programs."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class AntivirusSize:
    """What clamd and the scan workers get.

    `engine`: each clamd, whose signatures alone take more than a gigabyte, twice that for a while where it goes on scanning as it loads
    new ones. `scans`: files that it scans at once, each with several times its size of disk.
    `engines`: how many, where they are not on every node. `workers` to `most_workers` scan workers of `worker` each.
    """

    engine: Resources
    scans: int
    scans_while_loading: bool
    engines: int
    worker: Resources
    workers: int
    most_workers: int
