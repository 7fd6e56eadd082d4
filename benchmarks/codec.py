"""Measure reading and writing a block: the engines, and the libraries people use today.

`python -m benchmarks.codec [--repeats N]`, from the top of the repository. The block is that of
`benchmarks.blocks`: 2,000 ordinary transactions, with no witness and with one in every input. Each
work runs a few times to warm up; the figures are of the repeats. A record that was read is freed
within the time of its reading, here and in the rivals.

A message of a user's own is measured too: 5,000 records of four fields of which the native engine
has no node for one, and the same without that one.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from construct import Byte, GreedyString, Prefixed

from benchmarks.blocks import NETWORK, make_block, payload_of
from benchmarks.compiled import compiled
from benchmarks.measure import US, Absent, Figure, Target, figure, find, timed
from benchmarks.rivals import PROGRAMS, built, seconds_of
from lbcproxy import wire
from lbcproxy.wire.engine import ENGINES
from lbcproxy.wire.fields import Hash, UInt32, VarBytes
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.record import Record

__all__ = ["TARGETS", "measure", "who_of"]

BLOCKS = {"no witness": False, "all witness": True}
LIBRARY = "python-bitcoinlib"
RUST = "rust-bitcoin"


def _target(work: str, rival: str, ratio: float, who: str = US) -> Target:
    return Target(work=work, who=who, rival=rival, ratio=ratio)


TARGETS = [
    _target("decode, no witness", "construct", 60),
    _target("decode, no witness", LIBRARY, 30),
    _target("decode, no witness", RUST, 0.7),
    _target("decode, no witness", LIBRARY, 0.3, "construct"),
    _target("decode, all witness", "construct", 40),
    _target("decode, all witness", LIBRARY, 20),
    _target("decode, all witness", RUST, 0.7),
    _target("decode, all witness", LIBRARY, 0.3, "construct"),
    _target("encode, no witness", "construct", 80),
    _target("encode, no witness", RUST, 0.7),
    _target("encode, all witness", "construct", 50),
    _target("encode, all witness", RUST, 0.7),
]


class Plain(Record, frozen=True, gc=False):
    """A record of a user's, of whose every field the native engine has a node."""

    number: UInt32
    hash: Hash
    note: Annotated[bytes, VarBytes(100)]


class Named(Record, frozen=True, gc=False):
    """The same, and a name as construct reads it."""

    number: UInt32
    hash: Hash
    note: Annotated[bytes, VarBytes(100)]
    name: Annotated[str, Prefixed(Byte, GreedyString("utf-8"))]


class PlainList(wire.MessageRecord, frozen=True, gc=False):
    """A message of a user's own."""

    command: ClassVar[str] = "x-plain"

    entries: tuple[Plain, ...]


class NamedList(wire.MessageRecord, frozen=True, gc=False):
    """A message of a user's own with a field in each of its records that has no node."""

    command: ClassVar[str] = "x-named"

    entries: tuple[Named, ...]


def measure(repeats: int) -> Iterator[Figure | Absent]:
    """Measure everything; say once of each rival that it is not here."""
    yield from (each for each in (_native(), _library()) if isinstance(each, Absent))
    programs = {program.who: built(program) for program in PROGRAMS}
    yield from (each for each in programs.values() if isinstance(each, Absent))
    there = {who: path for who, path in programs.items() if isinstance(path, Path)}
    for name, witness in BLOCKS.items():
        yield from _measure_block(name, make_block(witness=witness), there, repeats)
    for message in own_messages():
        payload = wire.Codec(NETWORK, engine="construct").encode(message)
        yield from _measure_engines(f"message {message.command}", message, payload, repeats)


def who_of(engine: str) -> str:
    """Return the name of an engine in figures: the one we run on is us."""
    return US if engine == "native" else engine


def own_messages() -> tuple[wire.MessageRecord, ...]:
    """Return a message of a user's own without and with a field that has no node."""
    for kind in (PlainList, NamedList):
        wire.register(kind)
    rows = [(index, index.to_bytes(32), b"note %d" % index) for index in range(5000)]
    return (
        PlainList(tuple(Plain(*row) for row in rows)),
        NamedList(tuple(Named(*row, f"name {row[0]}") for row in rows)),
    )


def _measure_block(
    name: str, block: Block, programs: dict[str, Path], repeats: int
) -> Iterator[Figure]:
    payload = payload_of(block)
    yield from _measure_engines(name, block, payload, repeats)
    whole = compiled()
    yield from _measured(
        "construct compiled", name, payload, repeats, whole.parse, whole.build, whole.parse(payload)
    )
    library = _library()
    if not isinstance(library, Absent):
        read, write = library.deserialize, library.serialize
        yield from _measured(LIBRARY, name, payload, repeats, read, write, read(payload))
    for who, path in programs.items():
        for work, seconds in seconds_of(path, payload, repeats).items():
            yield _speed(f"{work}, {name}", who, seconds, payload)


def _measure_engines(
    name: str, record: wire.MessageRecord, payload: bytes, repeats: int
) -> Iterator[Figure]:
    for engine in ENGINES:
        codec = wire.Codec(NETWORK, engine=engine)
        read = functools.partial(codec.decode, record.command)
        assert read(payload) == record
        yield from _measured(
            who_of(engine), name, payload, repeats, read, codec.encode, read(payload)
        )


def _measured(
    who: str,
    name: str,
    payload: bytes,
    repeats: int,
    read: Callable[[bytes], Any],
    write: Callable[[Any], bytes],
    value: Any,
) -> Iterator[Figure]:
    """Measure both works of one library, after seeing that it does them right."""
    assert write(value) == payload, who
    seconds = timed(lambda: read(payload), repeats, warm_up=3)
    yield _speed(f"decode, {name}", who, seconds, payload)
    seconds = timed(lambda: write(value), repeats, warm_up=3)
    yield _speed(f"encode, {name}", who, seconds, payload)


def _speed(work: str, who: str, seconds: Iterable[float], payload: bytes) -> Figure:
    return figure(work, who, [len(payload) / each / 1e6 for each in seconds], "MB/s")


def _native() -> Absent | None:
    """Say that our own engine is absent, if it is."""
    return None if "native" in ENGINES else Absent(US, "the native engine is not built")


def _library() -> Any:
    """Return python-bitcoinlib's class of blocks, or say that it is absent."""
    try:
        from bitcoin.core import CBlock
    except ImportError:
        return Absent(LIBRARY, "it is not installed: python -m pip install -e '.[bench]'")
    return CBlock


def main() -> None:
    """Print the figures as a table, then the ratios that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15, help="of each work (default 15)")
    found: list[Figure] = []
    for each in measure(parser.parse_args().repeats):
        if isinstance(each, Absent):
            print(f"left out: {each.who}: {each.why}")
        else:
            found.append(each)
    print(f"{'work':24} {'who':18} {'MB/s':>8} {'spread':>7} {US + ' / it':>13}")
    for each in found:
        ours = find(found, each.work, US)
        times = f"{ours.value / each.value:13.2f}" if ours else ""
        print(f"{each.work:24} {each.who:18} {each.value:8,.1f} {each.spread:7.2f} {times}")
    for target in TARGETS:
        ours, rival = (find(found, target.work, who) for who in (target.who, target.rival or ""))
        if ours and rival:
            print(
                f"{target.work:24} {target.who} {ours.value / rival.value:.2f} x {target.rival}, "
                f"asked for: {target.ratio:g}"
            )


if __name__ == "__main__":
    main()
