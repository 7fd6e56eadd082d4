"""Our own `version` message (PEER.md B21 to B25)."""

from __future__ import annotations

import ipaddress
import secrets

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.config import PeerConfig
from lbcproxy.wire.messages.handshake import NetAddress, Version

__all__ = ["make_version"]

RELAY_VERSION = 70001
IPV4 = bytes(10) + b"\xff\xff"


def make_version(
    config: PeerConfig, remote: Endpoint, *, inbound: bool, in_use: int, wall: float
) -> Version:
    """Make the message; the user's functions may raise.

    `in_use` is the protocol version it is written for: our own, or what is agreed if the node
    spoke first. Our own address is never shown.
    """
    height = 0 if config.newest_block is None else config.newest_block()[1]
    return Version(
        version=config.highest_version,
        services=config.services,
        timestamp=int(wall),
        addr_recv=_shown_address(config, remote, config.services if inbound else 0),
        addr_from=NetAddress(config.services, bytes(16), 0),
        nonce=secrets.randbits(64),
        user_agent=config.full_user_agent(),
        start_height=height,
        relay=config.relay if in_use >= RELAY_VERSION else None,
    )


def _shown_address(config: PeerConfig, remote: Endpoint, services: int) -> NetAddress:
    proxy_host, colon, _ = config.proxy.rpartition(":")
    if config.proxy and (not colon or proxy_host == remote.host):
        return NetAddress(services, IPV4 + bytes(4), 0)
    if config.host_to_address is not None:
        return config.host_to_address(remote.host, remote.port, services)
    return NetAddress(services, _ip_bytes(remote.host), remote.port)


def _ip_bytes(host: str) -> bytes:
    """Give an IP address as `version` has it; 16 zero bytes for a name."""
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        return bytes(16)
    return packed if len(packed) == 16 else IPV4 + packed
