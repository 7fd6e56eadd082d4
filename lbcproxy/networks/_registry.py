"""Find the networks of the files beside this one."""

from __future__ import annotations

import functools

from lbcproxy.discover import entries
from lbcproxy.networks._network import Network

__all__ = ["all_networks", "get", "whose_magic", "with_magic"]


@functools.cache
def all_networks() -> dict[str, Network]:
    """Give every network by its id."""
    found: dict[str, Network] = {}
    for module in entries("lbcproxy.networks"):
        for network in module.NETWORKS:
            if network.id in found:
                raise ValueError(f"{module.__name__}: network {network.id} exists already")
            found[network.id] = network
    return found


def get(name: str) -> Network:
    """Give the network of this id, or of one of its other names; KeyError names those there are."""
    for network in all_networks().values():
        if name == network.id or name in network.names:
            return network
    raise KeyError(f"no network {name!r}; known: {', '.join(all_networks())}")


def with_magic(magic: bytes) -> tuple[Network, ...]:
    """Give the networks whose frames begin with these four bytes; two chains may share them."""
    return tuple(each for each in all_networks().values() if each.magic == magic)


def whose_magic(network: Network, raw: bytes) -> str:
    """Say which other network's frames begin like this: the operator may have meant it."""
    magic = raw[:4]
    known = [each.id for each in with_magic(magic)]
    if not known or magic == network.magic:
        return ""
    return f"; it is that of {' or '.join(known)}: use --network {known[0]}"
