"""Whether the content scanner has memory for all that the proxies may give to it at once, and they know all of its pods."""

import re

from tests.manifests.rules.budget import quantity
from tests.manifests.rules.objects import Objects, config_maps, of_kind, structured, workloads
from tests.manifests.rules.paths import find

ROUTE = "/_matrix/media_proxy/unstable/"
_OWN = 256 * 2**20
"""What the program takes without a file."""


def content_scanner_problems(objects: Objects) -> list[str]:
    """Requests that would find no content scanner, and files for which it would have too little memory."""
    by_name = {workload.name: workload for workload in workloads(objects)}
    scanner, proxy = by_name.get("content-scanner"), by_name["haproxy"]
    (files,) = (data for data in config_maps(objects).values() if "routes.map" in data)
    routed = [line for line in files["routes.map"].splitlines() if ROUTE in line]
    if scanner is None:
        return [f"HAProxy sends {line} to nobody" for line in routed]
    found = [] if len(routed) == 1 and routed[0].endswith(" content-scanner") else [f"{ROUTE} leads to {routed}"]
    backend = re.search(r"^backend content-scanner .*?(?=^\S|\Z)", files["haproxy.cfg"], re.MULTILINE | re.DOTALL)
    text = backend[0] if backend else ""
    at_once, known = re.search(r"maxconn (\d+)", text), re.search(r"server-template \S+ (\d+) content-scanner\.", text)
    if not at_once or not known:
        return [*found, "HAProxy does not know each of its pods, or sends as much as it likes to one"]
    (scaler,) = (o for o in of_kind(objects, "HorizontalPodAutoscaler") if o["metadata"]["name"] == "content-scanner")
    if int(known[1]) != scaler["spec"]["maxReplicas"]:
        found.append(f"HAProxy knows {known[1]} of {scaler['spec']['maxReplicas']} pods")
    (service,) = (o for o in of_kind(objects, "Service") if o["metadata"]["name"] == "content-scanner")
    if service["spec"].get("clusterIP") != "None":
        found.append("its Service has one address, behind which a pod gets more than its share")
    (media,) = (data["kind.yaml"] for data in config_maps(objects).values() if "max_upload_size" in data.get("kind.yaml", ""))
    together = int(at_once[1]) * proxy.spec["replicas"] * structured("kind.yaml", media)["max_upload_size"]
    (container,) = scanner.serving
    limit = quantity(container["resources"]["limits"]["memory"])
    # Four copies of a file in the program and its script, and the file itself in the volume, which is memory too.
    if limit < _OWN + 5 * together:
        found.append(f"its memory is {limit:.0f} bytes, and {5 * together} are needed for the files that it may get at once")
    (volume,) = (v["emptyDir"] for v in scanner.pod["volumes"] if v["name"] == "scan")
    if volume.get("medium") != "Memory":
        found.append("what it decrypts lies on a disk")
    if quantity(volume["sizeLimit"]) < together:
        found.append("its files have no room")
    mounted = find(container, "volumeMounts[].mountPath")
    return found + [f"it has no {path}" for path in ("/secrets/content-scanner", "/secrets/scan-worker") if path not in mounted]
