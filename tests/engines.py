"""Both engines side by side: what each makes of bytes and of records, and bytes and records to try.

Everything is chosen by a `random.Random` handed in, so a case can be had again from its seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from lbcproxy import networks, wire
from lbcproxy.wire.engine import ENGINES
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import Record
from tests.tools import absent

FAMILIES = ("lbry-mainnet", "bitcoin-mainnet")
VERSIONS = (209, 31402, 60000, 60001, 60002, 70001, 70002, 70012, 70013, 70016)
ENCODINGS = ("base", "witness", "auto")
BOTH = ("construct", "native")

LEAPS = (0, 1, 0x7F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF)
COUNTS = (0, 1, 0xFC, 0xFD, 500, 501, 0xFFFF, 0x10000, 50_001, 2**25, 2**25 + 1, 2**31, 2**32 - 1)


def require_native() -> None:
    """End a test where the native engine is not built."""
    if "native" not in ENGINES:
        absent("the native engine is not built: install a C compiler and Python's headers")


def reading(codec: wire.Codec, command: str, payload: bytes) -> Any:
    """Return what a codec makes of a payload: a record, or an error with all that it says."""
    try:
        return codec.decode(command, payload)
    except wire.BadPayload as error:
        return (type(error), error.what, error.where, error.offset, error.cut_short, str(error))


def writing(codec: wire.Codec, record: Any) -> Any:
    """Return what a codec makes of a record: bytes, or an error with all that it says."""
    try:
        return codec.encode(record)
    except wire.BadRecord as error:
        return (type(error), error.what, error.where, str(error))


class Pair:
    """The same codec on each engine."""

    def __init__(
        self,
        network: str,
        version: int | None = None,
        encoding: str = "witness",
    ) -> None:
        self.construct, self.native = (
            wire.Codec(networks.get(network), version, encoding, engine) for engine in BOTH
        )

    def read(self, command: str, payload: bytes) -> Any:
        """Return what both make of a payload; it must be the same."""
        first = reading(self.construct, command, payload)
        second = reading(self.native, command, payload)
        assert first == second, f"{command} {payload.hex()}: {first} and {second}"
        assert same_types(first, second), f"{command} {payload.hex()}: {first!r} and {second!r}"
        if isinstance(first, Record):
            same_plain(first)
        return first

    def write(self, record: Any) -> Any:
        """Return what both make of a record; it must be the same."""
        first, second = writing(self.construct, record), writing(self.native, record)
        assert first == second, f"{record!r}: {first} and {second}"
        return first


def same_plain(record: Record) -> None:
    """Hold the compiled `to_dict` to the other: the same keys in order, the same values."""
    plain = record.schema.plain(record)
    shown = record.to_dict()
    assert list(shown) == list(plain)
    assert msgspec.json.encode(shown) == msgspec.json.encode(plain), f"{record!r}"


def as_values(value: Any) -> Any:
    """Take a partial record for what it holds, at any depth, so that two compare."""
    if isinstance(value, Partial):
        fields = {name: as_values(each) for name, each in value.items()}
        return (value.kind, fields, value.trailing)
    return tuple(map(as_values, value)) if isinstance(value, tuple) else value


def same_types(first: Any, second: Any) -> bool:
    """Whether two equal values are of the same types all through: 1 is equal to True."""
    if type(first) is not type(second):
        return False
    if isinstance(first, Record):
        pairs = zip(msgspec.structs.astuple(first), msgspec.structs.astuple(second), strict=True)
    elif isinstance(first, tuple):
        pairs = zip(first, second, strict=True)
    else:
        return True
    return all(same_types(*pair) for pair in pairs)


def mutated(payload: bytes, source: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Cut, grow, flip, or inflate counts: up to three times, now and then not at all."""
    for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
        payload = source.choice(MUTATIONS)(payload, source, others)
    return payload


def _cut(payload: bytes, source: random.Random, _: Sequence[bytes]) -> bytes:
    return payload[: source.randint(0, len(payload))]


def _cut_inside(payload: bytes, source: random.Random, _: Sequence[bytes]) -> bytes:
    start = source.randint(0, len(payload))
    return payload[:start] + payload[start + source.randint(1, 8) :]


def _grow(payload: bytes, source: random.Random, _: Sequence[bytes]) -> bytes:
    start = source.choice((len(payload), source.randint(0, len(payload))))
    return payload[:start] + source.randbytes(source.randint(1, 40)) + payload[start:]


def _flip(payload: bytes, source: random.Random, _: Sequence[bytes]) -> bytes:
    if not payload:
        return payload
    changed = bytearray(payload)
    place = source.randrange(len(changed))
    if source.random() < 0.5:
        changed[place] ^= 1 << source.randrange(8)
    else:
        changed[place] = source.choice(LEAPS)
    return bytes(changed)


def _count(payload: bytes, source: random.Random, _: Sequence[bytes]) -> bytes:
    """Write a CompactSize, often a large one, not always in its shortest form."""
    start = source.choice((0, source.randint(0, len(payload)), source.randint(0, len(payload))))
    size = source.choice((1, 2, 4, 8))
    number = source.choice((source.choice(COUNTS), source.getrandbits(8 * size)))
    raw = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    prefix = {1: b"", 2: b"\xfd", 4: b"\xfe", 8: b"\xff"}[size]
    return payload[:start] + prefix + raw + payload[start + source.choice((0, 1, 1 + size)) :]


def _splice(payload: bytes, source: random.Random, others: Sequence[bytes]) -> bytes:
    other = source.choice(others) if others else payload
    start, end = source.randint(0, len(payload)), source.randint(0, len(other))
    return payload[:start] + other[end:]


MUTATIONS = (_cut, _cut_inside, _grow, _flip, _flip, _flip, _count, _splice)


class Bytes(bytes):
    """Bytes that are not exactly bytes."""


class Int(int):
    """An int that is not exactly one."""


class Tuple(tuple):
    """A tuple that is not exactly one."""

    __slots__ = ()


class Index:
    """What may stand for an int."""

    def __index__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index)

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Index()"


WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 256, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 2**70, 1.5),
    *("text", b"", b"tx", b"x" * 32, bytearray(32), memoryview(b"tx"), Bytes(b"x" * 32)),
    *(Int(5), Tuple((1, 2)), Tuple(), (), (None,), (1, b""), [], [b"x"], [1], {}, {1: 2}, Index()),
    *(object, range(3), frozenset(), slice(1), 3 + 4j, wire.record_of("ping")),
)


def spoiled(value: Any, source: random.Random) -> Any:
    """Put something wrong somewhere into a record, or what is like the right thing."""
    if isinstance(value, Record) and source.random() < 0.9 and type(value).__struct_fields__:
        name = source.choice(type(value).__struct_fields__)
        return msgspec.structs.replace(value, **{name: spoiled(getattr(value, name), source)})
    if isinstance(value, tuple | list) and value and source.random() < 0.8:
        place = source.randrange(len(value))
        changed = [*value[:place], spoiled(value[place], source), *value[place + 1 :]]
        return source.choice((tuple, list, Tuple))(changed)
    if type(value) is bytes and source.random() < 0.3:
        return source.choice((Bytes(value), bytearray(value), value + b"\0", value[1:]))
    if type(value) is int and source.random() < 0.3:
        return source.choice((Int(value), value + 1, -value, value << 8))
    return source.choice(WRONG)
