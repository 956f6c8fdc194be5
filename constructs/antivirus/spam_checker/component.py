"""Synapse's side of the antivirus: its module's configuration, and the token by which it asks the scan workers."""

from typing import Any

from antivirus.options import AntivirusOptions, Mode
from kit.component import Component
from kit.installation import Installation
from kit.network import Endpoint
from kit.place import Place
from kit.quantities import Bytes
from kit.secrets import Change, Form, Given, RandomText, SecretSpec
from main_instance.synapse.component import Scanning
from main_instance.synapse.configuration import Module
from main_instance.synapse.process import ANTIVIRUS_ADMINISTRATOR, SCAN_WORKER_TOKEN
from main_instance.synapse.workers import MEDIA_REPOSITORY

NEW_TOKEN = Change("Files have no verdict until both sides have the new one.", "Restart `scan-worker` and `media-repository` together.")
NEW_ADMINISTRATOR = Change("Nothing is quarantined with the old one.", "Restart `media-repository`.")


class SpamChecker(Component):
    """Deploys nothing of its own: the module runs within the media workers."""

    directory = "03-synapse-spam-checker"

    def __init__(self, installation: Installation, place: Place, options: AntivirusOptions) -> None:
        super().__init__(installation, "synapse-spam-checker", place)
        self._options = options
        self.token = self.secret(SecretSpec("scan-worker-token", self.namespace, {"token": RandomText(64)}), {"token": NEW_TOKEN})

    def scanning(self, scan_worker: Endpoint, homeserver: Endpoint, max_upload: Bytes) -> Scanning:
        """How Synapse has files scanned. `homeserver`: where its administration is, for files that are quarantined."""
        options = self._options
        config: dict[str, Any] = {
            "url": f"http://{scan_worker.address}",
            "token_file": SCAN_WORKER_TOKEN,
            "max_bytes": max_upload.count,
            "mode": options.mode.value,
            "when_unavailable": options.when_unavailable.value,
        }
        administrator = None
        if options.mode is Mode.QUARANTINE:
            wanted = Given(
                "Access token of an administrator, by which what is found is quarantined: log in as an account for this alone", Form.LINE
            )
            keys = SecretSpec("antivirus-administrator", self.namespace, {"token": wanted})
            administrator = self.secret(keys, {"token": NEW_ADMINISTRATOR}).name
            config["quarantine"] = {"admin_url": f"http://{homeserver.address}", "token_file": ANTIVIRUS_ADMINISTRATOR}
        module = Module("services.synapse_antivirus.module.Antivirus", config, frozenset({MEDIA_REPOSITORY.name}))
        peers = (scan_worker, homeserver) if administrator else (scan_worker,)
        return Scanning(module, self.token.name, administrator, peers)
