"""The parameters of a network: magic, port, limits, address formats and genesis block."""

from __future__ import annotations

import msgspec

from lbcproxy.wire.rules import ChainRules

__all__ = ["AddressPrefixes", "Network"]


class AddressPrefixes(msgspec.Struct, frozen=True):
    """The prefixes of addresses of outputs."""

    pubkey_hash: int
    """Version byte of a base58 address of a public key's hash."""
    script_hash: int
    """Version byte of a base58 address of a script's hash."""
    bech32: str
    """The part before the 1 of a bech32 address."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network, such as `lbry-mainnet`."""

    id: str
    """The name, as in options, captures and `networks.get`."""
    magic: bytes
    """The four bytes that begin every frame, in wire order."""
    port: int
    """The TCP port at which nodes listen."""
    protocol_version: int
    """The highest protocol version of the chain's usual node (lbcd, btcd)."""
    rules: ChainRules
    """The wire limits."""
    addresses: AddressPrefixes
    """The prefixes of addresses."""
    genesis: bytes
    """The header of the first block, as on the wire."""
    assumed: bool = False
    """Whether the magic means this network although others share it; readers report that."""
    names: tuple[str, ...] = ()
    """Other names that `networks.get` accepts."""

    @property
    def family(self) -> str:
        """The chain the network belongs to: `lbry` or `bitcoin`."""
        return self.id.partition("-")[0]

    def has(self, rule: str) -> bool:
        """Return whether the chain has a rule of `ChainRules`; always true for an empty name."""
        return not rule or bool(getattr(self.rules, rule))
