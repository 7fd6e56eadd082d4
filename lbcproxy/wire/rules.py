"""Limits that differ between chains and protocol versions.

`ChainRules` has the numbers in which lbcd (LBRY) and btcd (Bitcoin) differ. A limit in a
declaration is a number, `ByChain("script")` for one of those numbers, or `ByVersion(...)` for one
that changed with the protocol version. Limits are data, not functions, so that the documentation
and the dissector can be generated from them.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

__all__ = [
    "ANY_CHAIN",
    "MAX_CORE_PAYLOAD",
    "MAX_PAYLOAD",
    "ByChain",
    "ByVersion",
    "Chain",
    "ChainRules",
    "Limit",
    "Params",
    "bound",
]

MAX_PAYLOAD = 33_554_432
"""The largest payload of any command, in bytes (lbcd and btcd, `wire/message.go`)."""

MAX_CORE_PAYLOAD = 4_000_000
"""The same in Bitcoin Core (`MAX_PROTOCOL_MESSAGE_LENGTH`)."""


class ChainRules(msgspec.Struct, frozen=True, kw_only=True):
    """The wire limits of a family of chains; sizes in bytes."""

    claim_trie: bool
    """Whether block headers have a claim trie root (112 bytes) or not (80 bytes)."""
    block_payload: int
    """Largest payload of `block`, `tx` and `merkleblock`."""
    script: int
    """Longest script of an input or output."""
    witness_items: int
    """Maximum number of items in the witness of one input."""
    witness_item: int
    """Longest witness item."""
    superfluous_witness: bool
    """Whether a transaction may have the witness flag without a witness in any input."""
    mweb: bool = False
    """Whether transactions and blocks may have data of MimbleWimble extension blocks."""

    @property
    def header(self) -> int:
        """Size of a block header."""
        return 112 if self.claim_trie else 80

    @property
    def headers_payload(self) -> int:
        """Largest payload of `headers`: 2,000 headers, each with an empty transaction count."""
        return 9 + 2000 * (self.header + 1)

    @property
    def transactions(self) -> int:
        """Maximum number of transactions in a block; lbcd derives it from the smallest one."""
        return self.block_payload // 10 + 1

    @property
    def merkle_flags(self) -> int:
        """Maximum number of flag bytes in a `merkleblock`."""
        return self.block_payload // 80


ANY_CHAIN = ChainRules(
    claim_trie=False,
    block_payload=MAX_PAYLOAD,
    script=MAX_PAYLOAD,
    witness_items=MAX_PAYLOAD,
    witness_item=MAX_PAYLOAD,
    superfluous_witness=True,
)
"""The widest limits, for records that are hashed or shown independently of a chain."""


class Chain(Protocol):
    """What the wire format depends on in a network; `lbcproxy.networks.Network` is one."""

    def __hash__(self) -> int:
        """Return the hash: what depends on the chain alone is cached by chain."""

    @property
    def id(self) -> str:
        """The network's name, as `lbry-mainnet`."""

    @property
    def magic(self) -> bytes:
        """The four bytes that begin every frame."""

    @property
    def protocol_version(self) -> int:
        """The highest protocol version the chain's nodes speak."""

    @property
    def rules(self) -> ChainRules:
        """The wire limits."""


class Params(msgspec.Struct, frozen=True):
    """The parameters under which a payload is read or written."""

    rules: ChainRules
    protocol_version: int
    witness: bool
    """Whether transactions have the witness encoding (BIP144)."""


class ByChain(msgspec.Struct, frozen=True):
    """A limit that depends on the chain: the name of a number in `ChainRules`."""

    name: str


class ByVersion(msgspec.Struct, frozen=True):
    """A limit that changed: (protocol version, limit from that version on), ascending."""

    steps: tuple[tuple[int, int], ...]


Limit: TypeAlias = int | ByChain | ByVersion


def bound(limit: Limit, params: Params) -> int:
    """Return the number of a limit under these parameters."""
    if isinstance(limit, int):
        return limit
    if isinstance(limit, ByChain):
        return int(getattr(params.rules, limit.name))
    return max(step for step in limit.steps if step[0] <= params.protocol_version)[1]
