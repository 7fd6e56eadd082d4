"""A user's message made of construct's parts, which no node of the native engine reads.

It is used as any other: registered, read, written, shown; on both engines with one result.
"""

import random
from typing import Annotated, ClassVar

import construct
import pytest

from lbcproxy import networks, wire
from lbcproxy.wire import registry
from lbcproxy.wire.engine import ENGINES, tree_of
from lbcproxy.wire.fields import Hash, UInt32, VarBytes
from lbcproxy.wire.record import at_most
from tests.engines import Pair, mutated, require_native, spoiled

NETWORK = networks.get("lbry-mainnet")


class Station(wire.Record, frozen=True, gc=False):
    """One entry: two fields of ours around those of construct."""

    number: UInt32
    name: Annotated[str, construct.PascalString(construct.VarInt, "utf-8")]
    kind: Annotated[str, construct.Mapping(construct.Byte, {"full": 1, "light": 2})]
    key: Annotated[bytes, VarBytes(40)]


class Timetable(wire.MessageRecord, frozen=True, gc=False):
    """A message of one's own."""

    command: ClassVar[str] = "x-timetable"

    title: Annotated[str, construct.Prefixed(construct.Byte, construct.GreedyString("utf-8"))]
    stations: Annotated[tuple[Station, ...], at_most(20)]
    block: Hash
    sign: Annotated[bytes, construct.Const(b"TT")]
    height: Annotated[int | None, construct.Optional(construct.Int32ub)] = None


VALUE = Timetable(
    "Süd",
    (Station(7, "Ulm", "full", b"\1\2"), Station(8, "Köln", "light", b"")),
    bytes(range(32)),
    b"TT",
    300,
)
PAYLOAD = bytes.fromhex(
    "0453c3bc64"  # the title
    "02 0700000003556c6d01020102 08000000054bc3b66c6e0200"  # two stations
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "5454 0000012c"
)


@pytest.fixture(autouse=True)
def _registered():
    wire.register(Timetable)
    yield
    registry._records().pop(Timetable.command)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_read_and_written(engine):
    """What is said of it holds on every engine there is."""
    codec = wire.Codec(NETWORK, engine=engine)
    assert codec.decode("x-timetable", PAYLOAD) == VALUE
    assert codec.encode(VALUE) == PAYLOAD
    assert VALUE.to_dict()["stations"][1] == {
        "number": 8,
        "name": "Köln",
        "kind": "light",
        "key": "",
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_without_its_optional_field(engine):
    """Optional is what construct makes of it: fewer than its bytes are none, and trail."""
    codec = wire.Codec(NETWORK, engine=engine)
    short = codec.decode("x-timetable", PAYLOAD[:-4])
    assert (short.height, short.trailing) == (None, b"")
    cut = codec.decode("x-timetable", PAYLOAD[:-1])
    assert (cut.height, cut.trailing) == (None, b"\0\0\1")
    assert codec.encode(cut) == PAYLOAD[:-1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (PAYLOAD[:3], "title"),
        (PAYLOAD.replace(b"\xc3\xbcd", b"\xff\xffd"), "title"),
        (PAYLOAD.replace(b"Ulm\1", b"Ulm\7"), "stations[0].kind"),
        (PAYLOAD.replace(b"\1\2\1\2", b"\1\x29\1\2"), "stations[0].key"),
        (PAYLOAD.replace(b"TT", b"tt"), "sign"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(engine, payload, where):
    """An error of construct's own fields is one of ours, as everywhere."""
    with pytest.raises(wire.BadPayload) as caught:
        wire.Codec(NETWORK, engine=engine).decode("x-timetable", payload)
    assert caught.value.where == where


class Lines(wire.MessageRecord, frozen=True, gc=False):
    """A message with a field whose size construct does not know before it has read it."""

    command: ClassVar[str] = "x-lines"

    height: UInt32
    text: Annotated[str, construct.CString("ascii")]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_field_of_unknown_size_that_is_cut_off(engine):
    """It cannot be said how many bytes are missing, but how many there are."""
    wire.register(Lines)
    try:
        codec = wire.Codec(NETWORK, engine=engine)
        assert codec.decode("x-lines", b"\1\0\0\0abc\0") == Lines(1, "abc")
        with pytest.raises(wire.BadPayload) as caught:
            codec.decode("x-lines", b"\1\0\0\0abc")
    finally:
        registry._records().pop(Lines.command)
    assert caught.value.what == "the payload ends 3 bytes after the beginning of the field"
    assert (caught.value.where, caught.value.offset) == ("text", 4)
    assert caught.value.cut_short


def test_an_annotation_without_an_encoding_is_refused():
    """A user is told which one, when the message is first used."""

    class Plain(wire.Record, frozen=True, gc=False):
        number: int

    with pytest.raises(TypeError, match="does not define an encoding"):
        Plain.schema.fields  # noqa: B018


@pytest.mark.slow
def test_both_engines_make_the_same_of_it(count):
    """Cut at every byte, changed at random, and with wrong values put in."""
    require_native()
    pair = Pair(NETWORK.id)
    assert tree_of(Timetable, pair.native.params).foreign
    for end in range(len(PAYLOAD) + 1):
        pair.read("x-timetable", PAYLOAD[:end])
        count("a user's message, cut, through both engines")
    source = random.Random(5)
    for _ in range(2000):
        read = pair.read("x-timetable", mutated(PAYLOAD, source))
        if isinstance(read, Timetable):
            pair.write(read)
        pair.write(spoiled(VALUE, source))
        count("a user's message, changed, through both engines")
