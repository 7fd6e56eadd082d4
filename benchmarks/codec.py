"""Measure decoding and encoding of a block: the engines, and python-bitcoinlib where it is there.

`python -m benchmarks.codec [--repeats N]`, from the top of the repository. Everything in one run,
each work once to warm up; what is printed is the median of the repeats and how far they spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import msgspec

from benchmarks.blocks import NETWORK, make_block, payload_of
from lbcproxy import wire
from lbcproxy.wire.engine import ENGINES

__all__ = ["main"]

REFERENCE = "construct"


class Row(msgspec.Struct, frozen=True):
    """What was measured of one work of one engine or library."""

    work: str
    who: str
    seconds: float
    """The median."""
    spread: float
    """The slowest over the quickest."""
    size: int

    @property
    def speed(self) -> float:
        """Megabytes a second."""
        return self.size / self.seconds / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15, help="of each work (default 15)")
    repeats = parser.parse_args().repeats
    for name in (*ENGINES, "python-bitcoinlib"):
        if name == "python-bitcoinlib" and _bitcoinlib() is None:
            print("python-bitcoinlib is not installed: left out")
    if "native" not in ENGINES:
        print("the native engine is not built: left out")
    print(f"{'work':24} {'who':18} {'ms':>9} {'MB/s':>8} {'spread':>7} {'x construct':>12}")
    for witness in (False, True):
        rows = list(_measure(witness, repeats))
        for row in rows:
            base = next(
                each.seconds for each in rows if (each.work, each.who) == (row.work, REFERENCE)
            )
            print(
                f"{row.work:24} {row.who:18} {row.seconds * 1e3:9.3f} {row.speed:8.1f} "
                f"{row.spread:7.2f} {base / row.seconds:12.1f}"
            )


def _measure(witness: bool, repeats: int) -> Iterator[Row]:
    """Measure the works on one block."""
    block = make_block(witness=witness)
    payload = payload_of(block)
    name = "all witness" if witness else "no witness"
    for engine in ENGINES:
        codec = wire.Codec(NETWORK, engine=engine)
        record = codec.decode("block", payload)
        assert record == block
        yield _timed(
            f"decode, {name}", engine, payload, repeats, lambda c=codec: c.decode("block", payload)
        )
        yield _timed(
            f"encode, {name}", engine, payload, repeats, lambda c=codec, r=record: c.encode(r)
        )
    library = _bitcoinlib()
    if library is not None:
        other = library.deserialize(payload)
        assert other.serialize() == payload
        who = "python-bitcoinlib"
        yield _timed(f"decode, {name}", who, payload, repeats, lambda: library.deserialize(payload))
        yield _timed(f"encode, {name}", who, payload, repeats, other.serialize)


def _timed(work: str, who: str, payload: bytes, repeats: int, do: Callable[[], object]) -> Row:
    do()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        do()
        times.append(time.perf_counter() - start)
    return Row(work, who, statistics.median(times), max(times) / min(times), len(payload))


def _bitcoinlib():  # type: ignore[no-untyped-def]
    """Give python-bitcoinlib's class of blocks, or None."""
    try:
        from bitcoin.core import CBlock
    except ImportError:
        return None
    return CBlock


if __name__ == "__main__":
    main()
