"""The calls of a site: what LiveKit and coturn share."""
# ruff: noqa: RUF009 - what option, required and section return are attrs fields

from enum import StrEnum
from typing import Annotated

from attrs import frozen

from kit.formats import AddressMap, Annotations, BalancerClass, Cidr, PodAddresses, UdpPorts
from kit.network import Balancer, PortRange
from kit.options import Free, Settings, option

LiveKitSettings = Annotated[
    Settings, Free("options of LiveKit", "audio: {active_level: 35}", "LiveKit's keys and passwords are the platform's; remove it")
]

OWN_HOSTS = "own-hosts"
"""The way to the site's own hosts, as everybody sees them."""


class ServiceType(StrEnum):
    """How the cluster opens a Service."""

    LOAD_BALANCER = "load-balancer"
    NODE_PORT = "node-port"


@frozen(kw_only=True)
class LoadBalancerOptions:
    """Load balancers in front of LiveKit and coturn: one for each LiveKit, and one for coturn, with TURN over TLS on port 443."""

    service: ServiceType = option(
        ServiceType.LOAD_BALANCER,
        "`load-balancer`: the cluster makes them. `node-port`: they are yours, and forward to the node ports of these Services.",
    )
    livekit: PodAddresses = option(
        (),
        "The address of each LiveKit's, by its pod. Clients are told of it.",
        otherwise="`{}`: clients are told the addresses of nodes",
    )
    balancer_class: BalancerClass | None = option(
        None, "Which kind of load balancer, where the cluster has several (`loadBalancerClass`).", otherwise="the cluster's default"
    )
    annotations: Annotations = option((), "Put on these Services: what your cloud wants to be told.", otherwise="`{}`")

    @property
    def balancer(self) -> Balancer:
        """The same for a Service."""
        return Balancer(self.service is ServiceType.NODE_PORT, self.balancer_class, self.annotations)


@frozen(kw_only=True)
class CallsOptions:
    """Voice and video. The nodes that carry it have the labels `matrix-platform/livekit` and `matrix-platform/coturn`, or one of them."""

    public_addresses: AddressMap = option(
        (),
        "Of each of these nodes that clients do not reach by its own address (the node's InternalIP): its own address, and the one "
        "that they reach.",
        otherwise="`{}`",
    )
    load_balancer: LoadBalancerOptions | None = option(None, otherwise="clients reach the nodes themselves")
    media_ports: UdpPorts = option(PortRange(50_000, 54_999, "UDP"), "UDP ports for the media of group calls, two for each participant.")
    relay_ports: UdpPorts = option(PortRange(55_000, 59_999, "UDP"), "UDP ports from which TURN relays, one for each relayed address.")
    relay_to: tuple[Cidr, ...] = option(
        (), "Private networks to which TURN relays all the same: those of the users in an intranet. The cluster's own are left out."
    )
    livekit: LiveKitSettings = option(
        Settings(), "Further options of LiveKit: any that the platform does not set, in the sections that it sets too.", otherwise="`{}`"
    )
    turn_tls: bool | None = option(
        None,
        "Whether TURN is served by TLS too, on port 5349, or 443 of a load balancer. With `tls.source: acme` you give the certificate, in the Secret "
        "`tls.secret_names.turn`: the host leads to nodes, and the platform's issuer can prove the possession of those alone that lead "
        "to the ingress.",
        otherwise="`true`, and `false` with `tls.source: acme`",
    )
