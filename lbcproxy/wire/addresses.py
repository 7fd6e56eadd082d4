"""Addresses of nodes as people write them (BIP155's networks)."""

from __future__ import annotations

import base64
import hashlib
import ipaddress

__all__ = ["address_text"]


def address_text(network_id: int, address: bytes) -> str | None:
    """Return an `addrv2` address as text: IPv4, IPv6, `.onion` or `.b32.i2p` (BIP155).

    Args:
        network_id: The network by its BIP155 number.
        address: The raw address.

    Returns:
        None if the network is unknown, or the address does not have the network's length.
    """
    if network_id == 1 and len(address) == 4:
        return str(ipaddress.IPv4Address(address))
    if network_id in (2, 6, 7) and len(address) == 16:
        return str(ipaddress.IPv6Address(address))
    if network_id == 3 and len(address) == 10:
        return _base32(address) + ".onion"
    if network_id == 4 and len(address) == 32:
        checksum = hashlib.sha3_256(b".onion checksum" + address + b"\x03").digest()[:2]
        return _base32(address + checksum + b"\x03") + ".onion"
    if network_id == 5 and len(address) == 32:
        return _base32(address) + ".b32.i2p"
    return None


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()
