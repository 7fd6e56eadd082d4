"""Finds the networks that the files of this package declare."""

from __future__ import annotations

import functools
import re

import msgspec

from lbcproxy.discover import entries
from lbcproxy.networks._network import Network
from lbcproxy.wire.hashes import sha256d

__all__ = ["SIGNET", "all_networks", "custom", "get", "meant_by", "whose_magic", "with_magic"]

SIGNET = "bitcoin-signet"
"""The network for which a custom challenge can be set."""


@functools.cache
def all_networks() -> dict[str, Network]:
    """Return all networks by id."""
    found: dict[str, Network] = {}
    for module in entries("lbcproxy.networks"):
        for network in module.NETWORKS:
            if network.id in found:
                raise ValueError(f"{module.__name__}: network {network.id} exists already")
            found[network.id] = network
    return found


def get(name: str) -> Network:
    """Return the network with this id or other name.

    `ID@MAGIC`, such as `bitcoin-signet@7ec653a5`, is that network with another magic. Raises
    KeyError, which lists the known networks.
    """
    like, own, magic = name.partition("@")
    for network in all_networks().values():
        if like == network.id or like in network.names:
            return _with_own_magic(network, magic) if own else network
    raise KeyError(f"no network {name!r}; known: {', '.join(all_networks())}")


def custom(name: str, magic: str | None = None, signet_challenge: str | None = None) -> Network:
    """Return a network with a custom magic, or the one of a signet's challenge.

    Args:
        name: The network that it is based on. Only Bitcoin's signets have a challenge.
        magic: Four bytes in hexadecimal, in wire order.
        signet_challenge: The block script of the signet in hexadecimal (BIP325).

    Raises:
        KeyError: For an unknown network.
        ValueError: For an invalid magic or challenge; the text says why.
    """
    network = get(name)
    if signet_challenge is not None:
        if magic is not None:
            raise ValueError("a signet has a magic or a challenge, not both")
        if network.id.partition("@")[0] != SIGNET:
            raise ValueError(f"{network.id} has no challenge, only {SIGNET} has")
        return get(f"{SIGNET}@{signet_magic(signet_challenge).hex()}")
    if magic is None:
        return network
    try:
        return get(f"{network.id.partition('@')[0]}@{magic.lower()}")
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None


def signet_magic(challenge: str) -> bytes:
    """Return the magic of a signet: the first bytes of the hash of its challenge (BIP325)."""
    try:
        script = bytes.fromhex(challenge)
    except ValueError:
        raise ValueError(f"{challenge!r} is not hexadecimal") from None
    if not script:
        raise ValueError("the challenge is empty")
    return sha256d(_size(len(script)) + script)[:4]


def _size(count: int) -> bytes:
    """Return a length as CompactSize."""
    if count < 0xFD:
        return bytes((count,))
    return b"\xfd" + count.to_bytes(2, "little")  # no script is longer than 64 KiB


@functools.lru_cache
def _with_own_magic(network: Network, text: str) -> Network:
    if not re.fullmatch("[0-9a-f]{8}", text):
        raise KeyError(f"{text!r} is not a magic: 8 hexadecimal digits, as {network.magic.hex()}")
    magic = bytes.fromhex(text)
    if magic == network.magic:
        return network
    return msgspec.structs.replace(
        network, id=f"{network.id}@{text}", magic=magic, names=(), assumed=False
    )


def meant_by(magic: bytes) -> Network | None:
    """Return the network of a magic if the user names none; None if it is unknown or ambiguous."""
    known = with_magic(magic)
    if len(known) == 1:
        return known[0]
    return next((each for each in known if each.assumed), None)


def with_magic(magic: bytes) -> tuple[Network, ...]:
    """Return the networks with this magic; several chains may share one."""
    return tuple(each for each in all_networks().values() if each.magic == magic)


def whose_magic(network: Network, raw: bytes) -> str:
    """Return a hint if data begins with another network's magic; otherwise an empty string."""
    magic = raw[:4]
    known = [each.id for each in sorted(with_magic(magic), key=lambda each: not each.assumed)]
    if not known or magic == network.magic:
        return ""
    return f"; it is that of {' or '.join(known)}: use --network {known[0]}"
