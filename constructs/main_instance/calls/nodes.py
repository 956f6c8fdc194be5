"""The nodes of LiveKit and coturn, in whose network they are: where clients reach a node, and what keeps other pods off it."""

from ipaddress import ip_address

from attrs import field, frozen

CALLS_TAINT = "matrix-platform/calls"
"""The key of the taint by which an operator keeps nodes for calls alone."""

SCRIPT = "addresses.sh"
"""The file that the start scripts read, beside themselves."""


def _addresses(_: object, _attribute: object, public: tuple[tuple[str, str], ...]) -> None:
    for address in (address for pair in public for address in pair):
        ip_address(address)


@frozen
class NodeAddresses:
    """Nodes behind a router that translates addresses, or with a public address beside their own: own address to public address.

    A node's own address is the one that Kubernetes calls it by (`status.hostIP` of its pods). Of a node that is not named, clients
    reach that one.
    """

    public: tuple[tuple[str, str], ...] = field(default=(), validator=_addresses)
    balanced: tuple[tuple[str, str], ...] = ()
    """Of pods behind a load balancer each: the pod's name, which comes in POD_NAME, to the address of its load balancer."""

    @property
    def script(self) -> str:
        """Shell that sets ADDRESS, the node's own address, which comes in HOST_IP, and PUBLIC, where clients reach it."""
        lines = ["# shellcheck shell=sh disable=SC2034", "ADDRESS=$HOST_IP", "PUBLIC=$ADDRESS"]
        if self.public:
            lines += ["case $ADDRESS in", *(f"    '{own}') PUBLIC={public} ;;" for own, public in self.public), "esac"]
        if self.balanced:
            lines += ["case $POD_NAME in", *(f"    '{pod}') PUBLIC={address} ;;" for pod, address in self.balanced), "esac"]
        return "\n".join(lines) + "\n"
