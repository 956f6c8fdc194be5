"""LiveKit's settings: a pure function of a specification.

LiveKit refuses a file with an option that it does not know. Options: github.com/livekit/livekit, pkg/config/config.go, of 1.13.5.
"""

from typing import Any

from attrs import frozen

from kit.files import text
from kit.merging import with_extra
from kit.network import Endpoint
from kit.text import yaml_text
from main_instance.calls.nodes import SCRIPT, NodeAddresses
from main_instance.calls.options import CallsOptions
from main_instance.coturn.configuration import Relay

REDIS_DATABASE = 1
"""Synapse's is 0."""


@frozen
class Ports:
    """Where LiveKit listens, all TCP but one: `http` for signalling and its API, `media` for those whose network lets no UDP through."""

    http: int = 7880
    media: int = 7881
    balanced: int = 7882
    """UDP, for all media of a node that is behind a load balancer."""
    metrics: int = 6789


@frozen
class LiveKitSpec:
    """LiveKit on several nodes that know of each other by Redis.

    `redis`: what leads to the primary. `webhooks`: who is told what happens in rooms, signed with `api_key`. `relays`: the site's own TURN
    server, which shares a secret with LiveKit.
    """

    calls: CallsOptions
    redis: Endpoint
    api_key: str
    webhooks: tuple[str, ...]
    relays: tuple[Relay, ...]
    key_file: str = "/secrets/livekit/keys.yaml"
    turn_secret: str = "/secrets/turn/shared_secret"
    ports: Ports = Ports()


def configuration(spec: LiveKitSpec) -> dict[str, str]:
    """What the pods mount at one path, by file name: settings and the scripts that wait and start. No secret."""
    balancer = spec.calls.load_balancer
    nodes = NodeAddresses(spec.calls.public_addresses, balancer.livekit if balancer else ())
    scripts = {name: text(__package__, name) for name in ("start.sh", "wait.sh")}
    return {"config.yaml": yaml_text(settings(spec)), SCRIPT: nodes.script, **scripts}


def settings(spec: LiveKitSpec) -> dict[str, Any]:
    """What all nodes share. Where a node listens, by what address it is reached and the password of Redis come from the start script.

    Raises OptionError when the site's own options set what is set here.
    """
    config: dict[str, Any] = {
        "port": spec.ports.http,
        "prometheus": {"port": spec.ports.metrics},
        "rtc": {
            "tcp_port": spec.ports.media,
            **_media(spec),
            # No server of somebody else's is asked for this node's address.
            "use_external_ip": False,
            # Without any of these, clients would be told to ask Twilio and Google for their addresses (pkg/service/roommanager.go).
            "turn_servers": [
                {"host": relay.host, "port": relay.port, "protocol": relay.transport, "secret_file": spec.turn_secret}
                for relay in spec.relays
            ],
        },
        # The proxy follows the Sentinels, and closes connections to a primary that is gone. LiveKit knows Sentinels too, but when the machine
        # of the primary loses power it goes on waiting at a connection that nobody closes (go-redis, options.go, NewDialer: the kernel looks
        # after it every five minutes).
        "redis": {"address": spec.redis.address, "db": REDIS_DATABASE},
        "key_file": spec.key_file,
        # A room is made by the authorisation service alone, for people of this homeserver.
        "room": {"auto_create": False},
        "webhook": {"api_key": spec.api_key, "urls": list(spec.webhooks)},
        "turn": {"enabled": False},
        "logging": {"level": "info", "json": True},
    }
    return with_extra(
        config,
        spec.calls.livekit,
        "calls.livekit",
        {"rtc.port_range_start": "calls.media_ports", "rtc.port_range_end": "calls.media_ports"},
    )


def _media(spec: LiveKitSpec) -> dict[str, Any]:
    """Where UDP comes in: a load balancer has no thousands of ports, and one carries them all (rtcconfig: `udp_port`)."""
    if spec.calls.load_balancer:
        return {"udp_port": spec.ports.balanced}
    return {"port_range_start": spec.calls.media_ports.first, "port_range_end": spec.calls.media_ports.last}
