"""Traffic to measure with: valid frames of real messages, seeded, and the handshake before them."""

from __future__ import annotations

import functools
import random

from benchmarks.blocks import NETWORK, make_block, payload_of
from lbcproxy import wire
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut

__all__ = ["BUFFER", "HELLO", "VERACK", "blocks", "buffer_of", "filler", "framed", "transactions"]

BUFFER = 1_000_000
"""Bytes, about, that a sender hands over at once."""

_NOWHERE = NetAddress(services=0, ip=bytes(10) + b"\xff\xff" + bytes(4), port=0)


def framed(record: wire.MessageRecord) -> bytes:
    """Return a message's bytes."""
    return frame(NETWORK.magic, record.command, wire.Codec(NETWORK).encode(record))


HELLO = framed(
    Version(
        version=70016,
        services=1,
        timestamp=1_700_000_000,
        addr_recv=_NOWHERE,
        addr_from=_NOWHERE,
        nonce=6,
        user_agent=b"/benchmark:1/",
        start_height=0,
        relay=True,
    )
)
VERACK = framed(VerAck())


def transactions(count: int, seed: int = 6) -> list[bytes]:
    """Return frames of 300 bytes: different transactions of one input and four outputs."""
    source = random.Random(seed)  # noqa: S311  # nothing secret
    return [framed(_transaction(source)) for _ in range(count)]


@functools.cache
def blocks(count: int, size: int, seed: int = 6) -> list[bytes]:
    """Return frames of about `size` bytes: different blocks of ordinary transactions."""
    each = max(1, round(size / 369))  # what such a transaction has on average
    made = (payload_of(make_block(each, seed=seed + number)) for number in range(count))
    return [frame(NETWORK.magic, "block", payload) for payload in made]


def filler(size: int) -> bytes:
    """Return a frame of `size` bytes that says it is a block: for whoever does not read it."""
    return frame(NETWORK.magic, "block", random.Random(size).randbytes(size - 24))  # noqa: S311


def buffer_of(frames: list[bytes], size: int = BUFFER) -> tuple[bytes, int]:
    """Repeat frames up to about `size` bytes; return the bytes and the number of frames."""
    parts: list[bytes] = []
    total = 0
    while total < size or not parts:
        parts.append(frames[len(parts) % len(frames)])
        total += len(parts[-1])
    return b"".join(parts), len(parts)


def _transaction(source: random.Random) -> Tx:
    script = bytes((72,)) + source.randbytes(72) + bytes((33,)) + source.randbytes(33)
    payments = (
        TxOut(source.randint(546, 10**9), b"\x76\xa9\x14" + source.randbytes(20) + b"\x88\xac")
        for _ in range(3)
    )
    note = TxOut(0, b"\x6a\x05" + source.randbytes(5))
    return Tx(2, (TxIn(source.randbytes(32), 0, script, 0xFFFFFFFD),), (*payments, note), 0)
