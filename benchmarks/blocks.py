"""Blocks to measure with: seeded, so that every run and every rival has the same bytes."""

from __future__ import annotations

import random

from lbcproxy import networks, wire
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut

__all__ = ["NETWORK", "make_block", "payload_of"]

NETWORK = networks.get("bitcoin-mainnet")
"""Bitcoin's, so that its libraries can read the same block."""


def make_block(transactions: int = 2000, *, witness: bool = False, seed: int = 6) -> Block:
    """Make a block of ordinary transactions, each with one to three inputs and outputs."""
    source = random.Random(seed)  # noqa: S311  # nothing secret
    header = BlockHeader(
        0x20000000, source.randbytes(32), source.randbytes(32), None, 1_700_000_000, 0x1D00FFFF, 7
    )
    return Block(header, tuple(_transaction(source, witness) for _ in range(transactions)))


def payload_of(block: Block) -> bytes:
    """Return the block's bytes."""
    return wire.Codec(NETWORK, engine="construct").encode(block)


def _transaction(source: random.Random, witness: bool) -> Tx:
    inputs = tuple(_input(source, witness) for _ in range(source.randint(1, 3)))
    outputs = tuple(_output(source) for _ in range(source.randint(1, 3)))
    return Tx(2, inputs, outputs, source.randint(0, 800_000))


def _input(source: random.Random, witness: bool) -> TxIn:
    signature, key = source.randbytes(source.randint(70, 72)), source.randbytes(33)
    spent, index = source.randbytes(32), source.randint(0, 3)
    if witness:
        return TxIn(spent, index, b"", 0xFFFFFFFD, (signature, key))
    script = bytes((len(signature),)) + signature + bytes((len(key),)) + key
    return TxIn(spent, index, script, 0xFFFFFFFD)


def _output(source: random.Random) -> TxOut:
    """Return a payment to the hash of a key."""
    amount = source.randint(546, 50 * 100_000_000)
    return TxOut(amount, b"\x76\xa9\x14" + source.randbytes(20) + b"\x88\xac")
