"""What makes a network: how its frames begin, where its nodes listen, what its blocks look like."""

from __future__ import annotations

import msgspec

from lbcproxy.wire.rules import ChainRules

__all__ = ["AddressPrefixes", "Network"]


class AddressPrefixes(msgspec.Struct, frozen=True):
    """How addresses of outputs are written."""

    pubkey_hash: int
    """Version byte of a base58 address of a public key's hash."""
    script_hash: int
    """Version byte of a base58 address of a script's hash."""
    bech32: str
    """The part before the 1 of a bech32 address."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One network, as `lbry-mainnet`."""

    id: str
    """The name everybody uses: the options, the captures, `networks.get`."""
    magic: bytes
    """The four bytes that begin every frame, as they stand on the wire."""
    port: int
    """The TCP port at which nodes listen."""
    protocol_version: int
    """The highest protocol version of the chain's usual node (lbcd, btcd)."""
    rules: ChainRules
    """The wire limits."""
    addresses: AddressPrefixes
    """How addresses are written."""
    genesis: bytes
    """The header of the first block, as on the wire."""
    assumed: bool = False
    """Whether the magic alone means this network, though another has it too; readers say so."""
    names: tuple[str, ...] = ()
    """Other names by which `networks.get` knows it."""

    @property
    def family(self) -> str:
        """The chain the network belongs to: `lbry` or `bitcoin`."""
        return self.id.partition("-")[0]

    def has(self, rule: str) -> bool:
        """Return whether the chain has a rule of `ChainRules`; the empty one all have."""
        return not rule or bool(getattr(self.rules, rule))
