"""Addresses for hosts that have none, such as onion, I2P and DNS names.

A packet needs an IP address at either end. A host gets an address of its own, which is the same in
every capture. Tor v2 names get the address that OnionCat and Bitcoin Core gave them; all others get
one in fd6c:6263:7078::/48, made from a hash of the name. The real names are in the annotations of
the connection's first packet, as `source` and `target`.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from functools import lru_cache

from lbcproxy.endpoint import Endpoint

__all__ = ["endpoint_of", "host_name_annotations", "packed"]

PREFIX = b"\xfdlbcpx"
"""48 bits, in the range for private use (RFC 4193)."""
_ONION_CAT = bytes.fromhex("fd87d87eeb43")
_ONION_V2 = re.compile(r"([a-z2-7]{16})\.onion")


@lru_cache(maxsize=4096)
def packed(host: str) -> bytes:
    """Return the address of a host in a packet, 4 or 16 bytes in network byte order."""
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        pass
    if (onion := _ONION_V2.fullmatch(host.lower())) is not None:
        return _ONION_CAT + base64.b32decode(onion[1].upper())
    return PREFIX + hashlib.sha256(host.encode(errors="surrogatepass")).digest()[:10]


# The same few addresses come again and again, and parsing them is slow.
@lru_cache(maxsize=4096)
def endpoint_of(address: bytes, port: bytes) -> Endpoint:
    """Return the endpoint of an address and a port, both in network byte order."""
    host = ipaddress.ip_address(address)
    # Mapped addresses are IPv4 hosts; their text differs between Python versions.
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    return Endpoint(str(host), int.from_bytes(port))


def host_name_annotations(
    source: Endpoint, target: Endpoint, written: tuple[Endpoint, Endpoint]
) -> dict[str, object]:
    """Return the annotations from which readers get the real ends of a connection.

    `written` are the ends that its packets are made for, which may be substitutes.
    """
    found: dict[str, object] = {}
    for key, true, made in (("source", source, written[0]), ("target", target, written[1])):
        if endpoint_of(packed(made.host), made.port.to_bytes(2)) != true:
            found[key] = [true.host, true.port]
    return found
