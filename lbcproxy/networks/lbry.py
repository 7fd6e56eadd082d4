"""The networks of LBRY: lbcd `chaincfg/params.go` and `wire/protocol.go`; lbrycrd agrees."""

from __future__ import annotations

from lbcproxy.networks._network import AddressPrefixes, Network
from lbcproxy.wire.rules import ChainRules

__all__ = ["NETWORKS"]

RULES = ChainRules(
    claim_trie=True,
    block_payload=8_000_000,
    script=33_554_432,
    witness_items=500_000,
    witness_item=11_000,
    superfluous_witness=True,
)

MERKLE_ROOT = "cc59e59ff97ac092b55e423aa5495151ed6fb80570a5bb78cd5bd1c3821c21b8"


def _genesis(claim_trie: str, rest: str) -> bytes:
    """Build a genesis header: version 1, no parent; the rest is time, bits and nonce."""
    return bytes.fromhex("01000000" + "00" * 32 + MERKLE_ROOT + claim_trie.ljust(64, "0") + rest)


NETWORKS = (
    Network(
        id="lbry-mainnet",
        magic=bytes.fromhex("fae4aaf1"),
        port=9246,
        protocol_version=70013,
        rules=RULES,
        addresses=AddressPrefixes(0x55, 0x7A, "lbc"),
        genesis=_genesis("01", "33193156ffff001f07050000"),
        names=("lbry",),
    ),
    Network(
        id="lbry-testnet",
        magic=bytes.fromhex("fae4aae1"),
        port=19246,
        protocol_version=70013,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "tlbc"),
        genesis=_genesis("01", "33193156ffff001f07050000"),
        names=("lbry-testnet3",),
    ),
    Network(
        id="lbry-regtest",
        magic=bytes.fromhex("fae4aad1"),
        port=29246,
        protocol_version=70013,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "rlbc"),
        genesis=_genesis("01", "33193156ffff7f2001000000"),
    ),
    # simnet and signet have Bitcoin's magics: only the user can say which network is meant.
    Network(
        id="lbry-simnet",
        magic=bytes.fromhex("161c1412"),
        port=39246,
        protocol_version=70013,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "slbc"),
        genesis=_genesis("", "45068653ffff7f2002000000"),
    ),
    Network(
        id="lbry-signet",
        magic=bytes.fromhex("0a03cf40"),
        port=39246,
        protocol_version=70013,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "tlbc"),
        genesis=_genesis("", "008f4d5fae77031e8ad22203"),
    ),
)
