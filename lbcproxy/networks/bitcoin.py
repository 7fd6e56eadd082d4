"""The networks of Bitcoin: btcd `chaincfg/params.go`, BIP94 (testnet4), BIP325 (signet)."""

from __future__ import annotations

from lbcproxy.networks._network import AddressPrefixes, Network
from lbcproxy.wire.rules import ChainRules

__all__ = ["NETWORKS"]

RULES = ChainRules(
    claim_trie=False,
    block_payload=4_000_000,
    script=4_000_000,
    witness_items=4_000_000,
    witness_item=4_000_000,
    superfluous_witness=False,
)

MERKLE_ROOT = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
TESTNET4_MERKLE_ROOT = "4e7b2b9128fe0291db0693af2ae418b767e657cd407e80cb1434221eaea7a07a"


def _genesis(rest: str, merkle_root: str = MERKLE_ROOT) -> bytes:
    """Build a genesis header: version 1, no parent; the rest is time, bits and nonce."""
    return bytes.fromhex("01000000" + "00" * 32 + merkle_root + rest)


NETWORKS = (
    Network(
        id="bitcoin-mainnet",
        magic=bytes.fromhex("f9beb4d9"),
        port=8333,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x00, 0x05, "bc"),
        genesis=_genesis("29ab5f49ffff001d1dac2b7c"),
        names=("bitcoin",),
    ),
    Network(
        id="bitcoin-testnet3",
        magic=bytes.fromhex("0b110907"),
        port=18333,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "tb"),
        genesis=_genesis("dae5494dffff001d1aa4ae18"),
        names=("bitcoin-testnet",),
    ),
    Network(
        id="bitcoin-testnet4",
        magic=bytes.fromhex("1c163f28"),
        port=48333,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "tb"),
        genesis=_genesis("046f3566ffff001dbb0c7817", TESTNET4_MERKLE_ROOT),
    ),
    Network(
        id="bitcoin-signet",
        magic=bytes.fromhex("0a03cf40"),
        port=38333,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "tb"),
        genesis=_genesis("008f4d5fae77031e8ad22203"),
    ),
    Network(
        id="bitcoin-regtest",
        assumed=True,
        magic=bytes.fromhex("fabfb5da"),
        port=18444,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x6F, 0xC4, "bcrt"),
        genesis=_genesis("dae5494dffff7f2002000000"),
    ),
    Network(
        id="bitcoin-simnet",
        magic=bytes.fromhex("161c1412"),
        port=18555,
        protocol_version=70016,
        rules=RULES,
        addresses=AddressPrefixes(0x3F, 0x7B, "sb"),
        genesis=_genesis("45068653ffff7f2002000000"),
    ),
)
