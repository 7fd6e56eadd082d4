"""A chain of long blocks on regtest, the same bytes whenever it is made.

After 100 blocks of nothing but a reward, each block has transactions that spend one another: the
first spends a reward that has matured, and every one pays the next, a stranger, and keeps a note of
some hundred bytes. All are paid to the hash of the script OP_TRUE, which needs no signature.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence

from lbcproxy import networks, wire
from lbcproxy.wire.hashes import hash160, sha256d
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut

__all__ = ["MATURE", "NETWORK", "make_chain"]

NETWORK = networks.get("bitcoin-regtest")
MATURE = 100
"""Blocks until a reward may be spent."""
ANYONE = b"\xa9\x14" + hash160(b"\x51") + b"\x87"
SPEND = b"\x01\x51"
REWARD = 50 * 100_000_000
HALVING = 150
BITS = 0x207FFFFF
TARGET = 0x7FFFFF << (8 * (0x20 - 3))
SPACING = 60
NOTE = 850
"""Bytes of the note in each transaction, which then has about a thousand."""

_CODEC = wire.Codec(NETWORK)
Made = tuple[Tx, bytes]
"""A transaction and its id."""


def make_chain(
    blocks: int, size: int, genesis: bytes, begin: int, seed: int = 6
) -> Iterator[bytes]:
    """Return the payloads of `MATURE` short blocks and of `blocks` of about `size` bytes."""
    source = random.Random(seed)  # noqa: S311  # nothing secret
    rewards: deque[Made] = deque()
    previous = genesis
    for height in range(1, MATURE + blocks + 1):
        reward = _reward(height)
        rewards.append(reward)
        found = [reward]
        if height > MATURE:
            found += _transactions(rewards.popleft(), size, source)
        header = _header(previous, [txid for _, txid in found], begin + height * SPACING)
        previous = header.hash
        yield _CODEC.encode(Block(header, tuple(tx for tx, _ in found)))


def _reward(height: int) -> Made:
    amount = REWARD >> (height // HALVING)
    script = b"\x04" + height.to_bytes(4, "little")
    return _made(
        Tx(1, (TxIn(bytes(32), 0xFFFFFFFF, script, 0xFFFFFFFF),), (TxOut(amount, ANYONE),), 0)
    )


def _transactions(start: Made, size: int, source: random.Random) -> Iterator[Made]:
    tx, txid = start
    while size > 0:
        amount = tx.outputs[0].value - 1_000
        note = b"\x6a\x4d" + NOTE.to_bytes(2, "little") + source.randbytes(NOTE)
        outputs = (TxOut(amount, ANYONE), TxOut(1_000, ANYONE), TxOut(0, note))
        tx, txid = _made(Tx(2, (TxIn(txid, 0, SPEND, 0xFFFFFFFF),), outputs, 0))
        size -= NOTE + 130
        yield tx, txid


def _made(tx: Tx) -> Made:
    return tx, sha256d(_CODEC.encode(tx))


def _header(previous: bytes, txids: Sequence[bytes], timestamp: int) -> BlockHeader:
    """Find a header whose hash is low enough; on regtest every second one is."""
    root, nonce = _merkle_root(txids), 0
    while True:
        header = BlockHeader(0x20000000, previous, root, None, timestamp, BITS, nonce)
        if int.from_bytes(header.hash, "little") <= TARGET:
            return header
        nonce += 1


def _merkle_root(hashes: Sequence[bytes]) -> bytes:
    while len(hashes) > 1:
        pairs = zip(hashes[::2], [*hashes[1::2], hashes[-1]], strict=False)
        hashes = [sha256d(one + two) for one, two in pairs]
    return hashes[0]
