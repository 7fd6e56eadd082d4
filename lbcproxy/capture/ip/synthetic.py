"""Addresses for hosts that have none: onion and I2P names, names of DNS, and whatever else.

A packet needs an IP address at either end. A host gets one that is its own, and the same in every
capture: Tor's old names (v2) the one that OnionCat and Bitcoin Core gave them, all others one of
fd6c:6263:7078::/48, made from a hash of the name. The true names stand in the note on the first
packet of a connection, under `source` and `target`.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from functools import lru_cache

from lbcproxy.endpoint import Endpoint

__all__ = ["endpoint_of", "name_facts", "packed"]

PREFIX = b"\xfdlbcpx"
"""Of 48 bits, in the range for private use (RFC 4193)."""
_ONION_CAT = bytes.fromhex("fd87d87eeb43")
_ONION_V2 = re.compile(r"([a-z2-7]{16})\.onion")


@lru_cache(maxsize=4096)
def packed(host: str) -> bytes:
    """Return the address of a host as it stands in a packet: 4 bytes, or 16."""
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        pass
    if (onion := _ONION_V2.fullmatch(host.lower())) is not None:
        return _ONION_CAT + base64.b32decode(onion[1].upper())
    return PREFIX + hashlib.sha256(host.encode(errors="surrogatepass")).digest()[:10]


# The same few addresses come again and again, and reading them is slow.
@lru_cache(maxsize=4096)
def endpoint_of(address: bytes, port: bytes) -> Endpoint:
    """Return the end of a connection that stands in a packet."""
    host = ipaddress.ip_address(address)
    # Mapped addresses stand for IPv4 hosts; their own text differs between Python versions.
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    return Endpoint(str(host), int.from_bytes(port))


def name_facts(
    source: Endpoint, target: Endpoint, written: tuple[Endpoint, Endpoint]
) -> dict[str, object]:
    """Return what a note has to say of the ends of a connection, so that they can be read back.

    `written` are the ends that its packets are made for: those with the names, or stand-ins.
    """
    facts: dict[str, object] = {}
    for key, true, made in (("source", source, written[0]), ("target", target, written[1])):
        if endpoint_of(packed(made.host), made.port.to_bytes(2)) != true:
            facts[key] = [true.host, true.port]
    return facts
