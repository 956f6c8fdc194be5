"""Which pods may leave the cluster, and for where."""

from tests.manifests.rules.objects import Objects, of_kind, title

_PRIVATE = {
    "0.0.0.0/0": {"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"},
    "::/0": {"fc00::/7", "fe80::/10"},
}
"""Addresses that no public server has (RFC 6890 and its successors). 169.254.169.254 is where clouds hand out credentials."""

ANYWHERE = {
    "lk-jwt-service": "the site's own hosts, which in an intranet have private addresses",
    "postgresql-access": "object storage of the site, wherever it is",
    "synapse-media-repository": "object storage of the site, wherever it is",
    "media-sweep": "object storage of the site, wherever it is",
    "postgresql-li": "object storage of the site, wherever it is",
    "synapse-li": "object storage of the site, wherever it is",
    "li-sync-worker": "object storage of the site, wherever it is",
}
"""NetworkPolicies that let pods out to private addresses of no known place: why."""


def way_out_problems(objects: Objects) -> list[str]:
    """Policies that let pods out to everything, or to the whole world with its private addresses, where the public internet is meant."""
    policies = [o for o in of_kind(objects, "NetworkPolicy") if o["metadata"]["name"] not in ANYWHERE]
    rules = [(title(policy), rule) for policy in policies for rule in policy["spec"].get("egress") or []]
    blocks = [(name, peer["ipBlock"]) for name, rule in rules for peer in rule.get("to") or [] if "ipBlock" in peer]
    return [f"{name} lets out to everything: {rule}" for name, rule in rules if not rule.get("to") or not rule.get("ports")] + [
        f"{name} lets out to private addresses: {block}"
        for name, block in blocks
        if block["cidr"] in _PRIVATE and set(block.get("except", [])) != _PRIVATE[block["cidr"]]
    ]
