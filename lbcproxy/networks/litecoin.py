"""The networks of Litecoin: Litecoin Core 0.21 `chainparams.cpp`; MWEB as in LIP2 to LIP4."""

from __future__ import annotations

import msgspec

from lbcproxy.networks._network import AddressPrefixes, Network
from lbcproxy.networks.bitcoin import RULES

__all__ = ["NETWORKS"]

# A block may have an extension block of up to 11 MB in addition to 4 MB of transactions.
MWEB_RULES = msgspec.structs.replace(RULES, mweb=True, block_payload=16_000_000)

MERKLE_ROOT = "d9ced4ed1130f7b7faad9be25323ffafa33232a17c3edf6cfd97bee6bafbdd97"


def _genesis(rest: str) -> bytes:
    """Build a genesis header: version 1, no parent; the rest is time, bits and nonce."""
    return bytes.fromhex("01000000" + "00" * 32 + MERKLE_ROOT + rest)


# Script addresses have the newer prefix, which nodes use; the older one (5, 196) is Bitcoin's.
NETWORKS = (
    Network(
        id="litecoin-mainnet",
        magic=bytes.fromhex("fbc0b6db"),
        port=9333,
        protocol_version=70017,
        rules=MWEB_RULES,
        addresses=AddressPrefixes(48, 50, "ltc"),
        genesis=_genesis("b9aa8e4ef0ff0f1ecd513f7c"),
        names=("litecoin",),
    ),
    Network(
        id="litecoin-testnet",
        magic=bytes.fromhex("fdd2c8f1"),
        port=19335,
        protocol_version=70017,
        rules=MWEB_RULES,
        addresses=AddressPrefixes(111, 58, "tltc"),
        genesis=_genesis("f60ba158f0ff0f1ee1790400"),
        names=("litecoin-testnet4",),
    ),
    # It has the magic of Bitcoin's regtest, which is assumed if the user does not say which.
    Network(
        id="litecoin-regtest",
        magic=bytes.fromhex("fabfb5da"),
        port=19444,
        protocol_version=70017,
        rules=MWEB_RULES,
        addresses=AddressPrefixes(111, 58, "rltc"),
        genesis=_genesis("dae5494dffff7f2000000000"),
    ),
)
