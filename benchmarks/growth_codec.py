"""Measure what reading and writing costs as messages grow: by byte, and by entry of an inventory.

`python -m benchmarks.growth_codec [--repeats N]`, from the top of the repository. Transactions and
blocks from 100 bytes to 8 MB, inventories from 1 to 50,000 entries, on both engines; LBRY's limits,
as Bitcoin's end at 4 MB. The time of a byte that stays the same is a cost that grows as the message
does; of small messages it is higher by what each call costs.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from benchmarks.blocks import make_block
from benchmarks.codec import who_of
from benchmarks.measure import Absent, Figure, Target, figure, timed
from lbcproxy import networks, wire
from lbcproxy.wire.engine import ENGINES
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut

__all__ = ["ENTRIES", "SIZES", "TARGETS", "measure"]

NETWORK = networks.get("lbry-mainnet")
SIZES = {
    "100 B": 100,
    "1 kB": 1_000,
    "10 kB": 10_000,
    "100 kB": 100_000,
    "1 MB": 1_000_000,
    "8 MB": 8_000_000,
}
"""What a message of each name has about, and never more than."""
ENTRIES = (1, 10, 100, 1_000, 10_000, 50_000)
LEAST_BYTES = 100_000
"""Bytes that each repeat reads or writes at least, so that the clock's own cost does not show."""
MAX_BYTES = 20_000_000
"""Bytes that all repeats on construct have together at most: it is slow enough to be sure of."""

TARGETS: list[Target] = []
"""None: what is to be seen is a line, which is drawn, and ends of it that are compared."""


def measure(repeats: int) -> Iterator[Figure | Absent]:
    """Measure both works on messages of every size."""
    for name, size in SIZES.items():
        yield from _measure(f"tx of {name}", _transaction(size), None, repeats)
        if size > 500:  # a header and one transaction
            yield from _measure(f"block of {name}", _block(size), None, repeats)
    for count in ENTRIES:
        yield from _measure(f"inv of {count:,}", _inventory(count), count, repeats)


def _measure(
    name: str, record: wire.MessageRecord, entries: int | None, repeats: int
) -> Iterator[Figure]:
    """Measure a message: nanoseconds a byte, or an entry."""
    unit = "ns/B" if entries is None else "ns/entry"
    for engine in ENGINES:
        codec = wire.Codec(NETWORK, engine=engine)
        payload = codec.encode(record)
        read = functools.partial(codec.decode, record.command, payload)
        assert read() == record
        some = repeats if engine == "native" else max(3, min(repeats, MAX_BYTES // len(payload)))
        for work, do in (("decode", read), ("encode", functools.partial(codec.encode, read()))):
            seconds = _each(do, len(payload), some)
            values = [second * 1e9 / (entries or len(payload)) for second in seconds]
            yield figure(f"{work}, {name}", who_of(engine), values, unit)


def _each(do: Callable[[], Any], size: int, repeats: int) -> list[float]:
    """Return the seconds that doing it once takes, of each repeat."""
    rounds = -(-LEAST_BYTES // size)

    def often() -> None:
        for _ in range(rounds):
            do()

    return [second / rounds for second in timed(often, repeats)]


def _transaction(size: int) -> Tx:
    """Make a transaction of ordinary inputs and outputs, nearly as large as asked for."""
    source = random.Random(size)  # noqa: S311  # nothing secret
    inputs, outputs = [TxIn(source.randbytes(32), 0, b"", 0)], []
    left = size - 100  # about what stands around the parts, and the first input
    while left > 200:
        inputs.append(TxIn(source.randbytes(32), 0, source.randbytes(107), 0xFFFFFFFD))
        outputs.append(TxOut(source.randint(546, 10**9), source.randbytes(25)))
        left -= 148 + 34
    outputs.append(TxOut(546, source.randbytes(25)))
    return Tx(2, tuple(inputs), tuple(outputs), 0)


def _block(size: int) -> Block:
    """Make a block of ordinary transactions, nearly as large as asked for."""
    block = make_block(transactions=size // 300 + 10)  # more than fit
    header = msgspec.structs.replace(block.header, claim_trie=bytes(32))
    codec = wire.Codec(NETWORK)
    some: list[Tx] = []
    left = size - 117
    for transaction in block.transactions:
        length = len(codec.encode(transaction))
        if length <= left:
            some.append(transaction)
            left -= length
    return Block(header, tuple(some))


def _inventory(count: int) -> Inv:
    source = random.Random(count)  # noqa: S311  # nothing secret
    return Inv(tuple(InventoryVector(1, source.randbytes(32)) for _ in range(count)))


def main() -> None:
    """Print a row for each message: reading and writing, on each engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15, help="of each work (default 15)")
    print(f"{'work':24} {'who':12} {'time':>9} {'spread':>7}")
    for each in measure(parser.parse_args().repeats):
        assert isinstance(each, Figure)
        print(f"{each.work:24} {each.who:12} {each.value:9.3f} {each.unit:8} {each.spread:7.2f}")


if __name__ == "__main__":
    main()
