"""What is published, as people reach it: an ingress controller that does what the rendered Ingresses say, and a tool of administrators behind it."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from attrs import evolve

from tests.kustomize import ROOT
from tests.live.certificates import Authority
from tests.live.cluster import INGRESS, WORLD, Cluster
from tests.live.outside import launched
from tests.live.processes import wait_for

_MIDDLEWARES = "traefik.ingress.kubernetes.io/router.middlewares"


def routes(objects: Sequence[Mapping[str, Any]], host: str) -> list[dict[str, Any]]:
    """What the Ingresses say of a host, with the addresses that may ask."""
    named = {f"{o['metadata']['namespace']}-{o['metadata']['name']}@kubernetescrd": o["spec"] for o in objects if o["kind"] == "Middleware"}
    found = []
    for ingress in (o for o in objects if o["kind"] == "Ingress"):
        metadata = ingress["metadata"]
        theirs = [named[name] for name in filter(None, metadata.get("annotations", {}).get(_MIDDLEWARES, "").split(","))]
        allowed = [network for spec in theirs if "ipAllowList" in spec for network in spec["ipAllowList"]["sourceRange"]]
        for rule in (rule for rule in ingress["spec"]["rules"] if rule["host"] == host):
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                to = f"http://{service['name']}.{metadata['namespace']}.svc.cluster.local:{service['port']['number']}"
                exact = path["pathType"] == "Exact"
                found.append({"host": host, "path": path["path"], "exact": exact, "to": to, "allowed": allowed})
    return found


@contextmanager
def published(cluster: Cluster, objects: Sequence[Mapping[str, Any]], host: str, authority: Authority) -> Iterator[None]:
    """The host, by TLS, for who asks from the addresses that are allowed."""
    certificate, key = authority.issue(host)
    given = {"listen": 443, "routes": routes(objects, host), "certificate": certificate, "key": key}
    with launched(cluster, "controller", given, evolve(INGRESS, names=(host,))) as controller:
        wait_for(controller.output, 20, "the ingress controller")
        yield


def synadm(cluster: Cluster, token: str, authority: Authority, *commands: str) -> list[Any]:
    """What synadm answers to each command, set up as the deployment guide says, by somebody outside."""
    guide = (ROOT / "docs" / "01-DEPLOYMENT-GUIDE.md").read_text()
    (setup,) = re.findall(r"^synadm --batch config (?:.*\\\n)*.*$", guide, re.MULTILINE)
    script = [
        "set -e; mkdir -p $HOME",
        f"printf %s {shlex.quote(authority.certificate)} > $HOME/ca.pem",
        f"export REQUESTS_CA_BUNDLE=$HOME/ca.pem TOKEN={shlex.quote(token)}",
        f"{setup} >&2",
        *(f"echo; echo ---; synadm --batch --output yaml {command}" for command in commands),
    ]
    said = cluster.run(["sh", "-c", "\n".join(script)], WORLD, environment={"HOME": "/tmp/administrator"}).check().output
    return list(yaml.safe_load_all(said))[-len(commands) :]
