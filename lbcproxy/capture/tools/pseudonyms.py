"""Pseudonyms for values that identify someone: equal values get equal pseudonyms.

They depend on a key, without which the original values cannot be found. IPv4 addresses are mapped
into 240.0.0.0/4, which is reserved, and IPv6 addresses into 2001:db8::/32, which is for
documentation (RFC 3849). Loopback and unspecified addresses identify nobody and stay as they are.
"""

from __future__ import annotations

import hashlib
import ipaddress

from lbcproxy.endpoint import Endpoint

__all__ = ["Pseudonyms"]

MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of an IPv4-mapped IPv6 address."""
ONIONCAT = bytes.fromhex("fd87d87eeb43")
"""The prefix of a Tor v2 name in an IPv6 address."""
DOCUMENTATION = bytes.fromhex("20010db8")
IPV4, IPV6, TOR_V2, TOR_V3, I2P, CJDNS = 1, 2, 3, 4, 5, 6
"""Networks of `addrv2` (BIP155)."""


class Pseudonyms:
    """Returns a pseudonym for each value. `key` is 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _bytes(self, kind: bytes, data: bytes, size: int) -> bytes:
        # SHAKE is a sponge: prefixing the key is enough, HMAC is not needed.
        return hashlib.shake_256(self._key + kind + b"\0" + data).digest(size)

    def nonce(self, value: int) -> int:
        """Return another number of 64 bits."""
        return int.from_bytes(self._bytes(b"nonce", value.to_bytes(8, "little"), 8), "little")

    def user_agent(self, agent: bytes) -> bytes:
        """Return a user agent that shows only which ones are equal; an empty one stays empty."""
        return b"/agent-%s/" % self._bytes(b"agent", agent, 4).hex().encode() if agent else b""

    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Return another host with the same port."""
        return Endpoint(self.host(endpoint.host), endpoint.port)

    def host(self, host: str) -> str:
        """Return another address, or another name for a name."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return f"host-{self._bytes(b'host', host.encode(), 4).hex()}.invalid" if host else ""
        size = len(address.packed)
        mapped = self.address(IPV4 if size == 4 else IPV6, address.packed)
        return str(ipaddress.ip_address(mapped))

    def address(self, network: int, address: bytes) -> bytes:
        """Return another valid address of the same network and length.

        `network` is BIP155's number, `address` is in network byte order. An IPv6 address may hold
        an IPv4 address or an onion name, as it does in `version` and `addr`.
        """
        if network == IPV4 and len(address) == 4:
            return self._ipv4(address)
        if network == IPV6 and len(address) == 16:
            return self._ipv6(address)
        kept = 1 if network == CJDNS else 0  # every CJDNS address starts with fc
        return (
            address[:kept]
            + self._bytes(b"address", bytes([network]) + address, len(address))[kept:]
        )

    def _ipv4(self, address: bytes) -> bytes:
        if address[0] in (0, 127):
            return address
        fake = self._bytes(b"ipv4", address, 4)
        return bytes([0xF0 | fake[0]]) + fake[1:]

    def _ipv6(self, address: bytes) -> bytes:
        if address.startswith(MAPPED):
            return MAPPED + self._ipv4(address[12:])
        if address.startswith(ONIONCAT):
            return ONIONCAT + self._bytes(b"address", bytes([TOR_V2]) + address[6:], 10)
        if not any(address[:15]) and address[15] < 2:
            return address
        return DOCUMENTATION + self._bytes(b"ipv6", address, 12)
