"""The antivirus: ClamAV with its signatures, the scan workers, and Synapse's side of it."""

from antivirus.clamav.component import ClamAv, ClamAvChoice
from antivirus.scan_workers.component import ScanWorkers, ScanWorkersSpec
from antivirus.spam_checker.component import SpamChecker
from app.platform.infrastructure import Infrastructure
from app.site import Site
from kit.installation import Installation
from kit.place import Place
from main_instance.haproxy.component import entrances
from main_instance.synapse.component import Scanning
from overlays.profile import Profile


def antivirus(installation: Installation, site: Site, profile: Profile, foundation: Infrastructure) -> Scanning:
    """Create it, and say how Synapse has files scanned: one number is the largest file of all of them."""
    place, options, largest = Place("antivirus", site.namespaces.main), site.antivirus, site.media.max_upload_size
    clamav = ClamAv(
        installation, place, ClamAvChoice(options.engines, options.signatures, options.refuse_encrypted, profile.antivirus, largest)
    )
    checker = SpamChecker(installation, place, options)
    redis = foundation.redis
    spec = ScanWorkersSpec(options, profile.antivirus, largest, clamav.clamd, checker.token, redis.primary, redis.password.name)
    workers = ScanWorkers(installation, place, spec)
    homeserver = entrances(installation, Place("main-instance", site.namespaces.main)).internal
    return checker.scanning(workers.http, homeserver, largest)
