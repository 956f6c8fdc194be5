"""The antivirus: ClamAV with its signatures, the scan workers, and Synapse's side of it."""

from attrs import frozen

from antivirus.clamav.component import ClamAv, ClamAvChoice
from antivirus.content_scanner.component import ContentScanner, ContentScannerSpec
from antivirus.scan_workers.component import ScanWorkers, ScanWorkersSpec
from antivirus.spam_checker.component import SpamChecker
from app.platform.infrastructure import Infrastructure
from app.site import Site
from kit.installation import Installation
from kit.place import Place
from main_instance.haproxy.component import entrances
from main_instance.synapse.component import Scanning
from overlays.profile import Profile


@frozen
class Antivirus:
    """What the main instance is given: how Synapse has files scanned, and who serves clients that have encrypted files scanned."""

    scanning: Scanning
    content_scanner: ContentScanner | None


def antivirus(installation: Installation, site: Site, profile: Profile, foundation: Infrastructure) -> Antivirus:
    """Create it. One number is the largest file of all of them."""
    place, options, largest = Place("antivirus", site.namespaces.main), site.antivirus, site.media.max_upload_size
    choice = ClamAvChoice(options.engines, options.signatures, options.refuse_encrypted, profile.antivirus, largest)
    clamav = ClamAv(installation, place, choice)
    checker = SpamChecker(installation, place, options)
    redis = foundation.redis
    spec = ScanWorkersSpec(options, profile.antivirus, largest, clamav.clamd, checker.token, redis.primary, redis.password.name)
    workers = ScanWorkers(installation, place, spec)
    doors = entrances(installation, Place("main-instance", site.namespaces.main))
    encrypted = ContentScannerSpec(workers.http, checker.token, doors.public, largest, profile.antivirus, profile.haproxy.replicas)
    scanner = ContentScanner(installation, place, encrypted) if options.encrypted else None
    return Antivirus(checker.scanning(workers.http, doors.internal, largest), scanner)
