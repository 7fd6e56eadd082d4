"""Tests of reading pcapng, with files built here by other code than the writer's."""

import contextlib
import io
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture.formats import pcapng, read_packets
from lbcproxy.capture.packet import Packet, Section
from lbcproxy.capture.spans import intact_length
from lbcproxy.errors import CaptureError
from tests.capture.formats.pcapng_builder import BIG, LITTLE, Builder


def small(build: Builder = LITTLE) -> list[bytes]:
    """The blocks of a small file with one of everything."""
    return [
        build.section((1, b"for people"), build.custom('{"a":1}'), (4, b"somebody")),
        build.interface((9, b"\x09")),
        build.packet(b"one", time=1_700_000_000_123_456_789),
        build.block(0x0BAD, b"somebody's block"),
        build.packet(b"two!", (1, "dropped – by me".encode()), (1, b"2nd"), build.custom("{}")),
        build.block(3, build.pack("I", 5) + b"three"),
    ]


def read(data: bytes) -> list[Packet | Section]:
    """All that is in a file."""
    return list(read_packets(io.BytesIO(data)))


def until_error(data: bytes) -> tuple[list[Packet | Section], CaptureError | None]:
    """What is read before the end or the error, and the error."""
    found: list[Packet | Section] = []
    try:
        found.extend(pcapng.read(io.BytesIO(data)))
    except CaptureError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("build", [LITTLE, BIG], ids=["little", "big"])
def test_everything_is_read_in_either_byte_order(build: Builder):
    """Nanoseconds, comments and what lbcproxy left for itself come back."""
    blocks = small(build)
    offsets = [sum(map(len, blocks[:number])) for number in range(6)]
    assert read(b"".join(blocks)) == [
        Section(('{"a":1}',), ("for people",), 0),
        Packet(1_700_000_000_123_456_789, 101, b"one", offsets[2]),
        Packet(0, 101, b"two!", offsets[4], ("dropped – by me", "2nd"), ("{}",)),
        Packet(0, 101, b"three", offsets[5]),
    ]


def test_sections_of_different_byte_order_follow_each_other():
    """Files are appended to, and joined; interfaces are numbered again in each section."""
    first = b"".join(small(LITTLE))
    second = BIG.section() + BIG.interface(link=1) + BIG.packet(b"far", time=3)
    items = read(first + second)
    assert items[4:] == [
        Section((), (), len(first)),
        Packet(3_000, 1, b"far", len(first + BIG.section() + BIG.interface())),
    ]


@pytest.mark.parametrize(
    ("options", "time", "expected"),
    [
        pytest.param((), 5_000_001, 5_000_001_000, id="microseconds if nothing is said"),
        pytest.param(((9, b"\x09"),), 5_000_000_001, 5_000_000_001, id="nanoseconds"),
        pytest.param(((9, b"\x03"),), 5_001, 5_001_000_000, id="milliseconds"),
        pytest.param(((9, b"\x00"),), 5, 5_000_000_000, id="seconds"),
        pytest.param(((9, b"\x0c"),), 5_000_000_001_999, 5_000_000_001, id="picoseconds"),
        pytest.param(((9, b"\x81"),), 11, 5_500_000_000, id="halves"),
        pytest.param(((9, b"\xa0"),), 11 << 31, 5_500_000_000, id="2^-32"),
        pytest.param(((14, struct.pack("<q", 100)),), 5, 100_000_005_000, id="offset"),
        pytest.param(((14, struct.pack("<q", -1)),), 1_000_001, 1_000, id="offset back"),
    ],
)
def test_units_of_time(options: tuple[tuple[int, bytes], ...], time: int, expected: int):
    """Every interface has its own clock; all come out as nanoseconds since 1970."""
    data = LITTLE.section() + LITTLE.interface(*options) + LITTLE.packet(b"", time=time)
    _, packet = read(data)
    assert isinstance(packet, Packet)
    assert packet.time_ns == expected


def test_a_simple_packet_is_cut_by_its_interface():
    """Its block tells the length on the wire; what is in the file follows from the limit."""
    data = LITTLE.section() + LITTLE.interface(snap=6)
    _, packet = read(data + LITTLE.block(3, LITTLE.pack("I", 1000) + b"123456"))
    assert isinstance(packet, Packet)
    assert packet.data == b"123456"


def test_custom_texts_of_others_are_not_ours():
    """The number in a custom option says whose it is."""
    data = LITTLE.section() + LITTLE.interface()
    _, packet = read(data + LITTLE.packet(b"", LITTLE.custom("theirs", pen=1), (2988, b"\xd9")))
    assert isinstance(packet, Packet)
    assert packet.custom == ()


def boundaries(blocks: list[bytes]) -> list[int]:
    """Where blocks end."""
    return [sum(map(len, blocks[: number + 1])) for number in range(len(blocks))]


@pytest.mark.parametrize("build", [LITTLE, BIG], ids=["little", "big"])
def test_every_prefix_gives_what_is_before_the_cut(build: Builder):
    """After `kill -9` or a full disk everything up to the last whole block is there."""
    blocks = small(build)
    whole, ends = b"".join(blocks), boundaries(blocks)
    items, _ = until_error(whole)
    for cut in range(1, len(whole) + 1):
        found, error = until_error(whole[:cut])
        last = max([end for end in ends if end <= cut], default=0)
        assert found == [item for item in items if item.offset < last]
        assert (error is None) == (cut in ends)
        assert error is None or error.offset == last
        assert intact_length(pcapng.spans(io.BytesIO(whole[:cut]))) == last


def test_the_whole_length_ends_before_what_a_crash_leaves():
    """Zeros, or the beginning of a block: what is appended after them could never be read."""
    whole = b"".join(small())
    block = LITTLE.packet(b"cut short")
    for tail in (bytes(4096), block[:3], block[:11], block[:-1], b""):
        assert intact_length(pcapng.spans(io.BytesIO(whole + tail))) == len(whole)
    assert intact_length(pcapng.spans(io.BytesIO(b""))) == 0


def test_damage_that_is_not_a_torn_tail_is_not_taken_for_one():
    """Gigabytes of good blocks may follow: nothing must be cut off."""
    first, *others = small()
    packet = LITTLE.packet(b"data")
    damaged = packet[:4] + b"\xee" * 4 + packet[8:]
    for middle in (damaged, with_length(packet, 16), b"\xff" * 50):
        with pytest.raises(CaptureError, match="damaged, and not at its end") as caught:
            intact_length(
                pcapng.spans(io.BytesIO(b"".join([first, *others, middle, *[packet] * 9])))
            )
        assert caught.value.offset == len(b"".join([first, *others]))


def with_length(block: bytes, first: int, last: int | None = None) -> bytes:
    """A little-endian block whose lengths are not true."""
    last = first if last is None else last
    return block[:4] + struct.pack("<I", first) + block[8:-4] + struct.pack("<I", last)


PLAIN = LITTLE.packet(b"data")


@pytest.mark.parametrize(
    ("block", "what"),
    [
        pytest.param(with_length(PLAIN, 0), "cannot have 0 bytes", id="none"),
        pytest.param(with_length(PLAIN, 8), "cannot have 8 bytes", id="too short"),
        pytest.param(with_length(PLAIN, 37), "cannot have 37 bytes", id="not aligned"),
        pytest.param(with_length(PLAIN, 64 * 2**20 + 4), "67,108,868 bytes", id="too long"),
        pytest.param(with_length(PLAIN, len(PLAIN), 40), "differs", id="two lengths"),
        pytest.param(with_length(PLAIN, len(PLAIN) + 4), "is cut", id="over the end"),
        pytest.param(LITTLE.packet(b"", interface=7), "interface 7", id="no interface"),
        pytest.param(LITTLE.block(6, bytes(16)), "too short", id="short packet"),
        pytest.param(LITTLE.block(6, struct.pack("<5I", 0, 0, 0, 5, 5)), "longer", id="long data"),
        pytest.param(LITTLE.block(3, b""), "too short", id="short simple packet"),
        pytest.param(LITTLE.block(3, struct.pack("<I", 9)), "longer", id="long simple packet"),
        pytest.param(LITTLE.block(1, bytes(4)), "too short", id="short interface"),
        pytest.param(
            LITTLE.block(6, bytes(20) + struct.pack("<HH", 1, 50)), "option 1", id="long option"
        ),
        pytest.param(LITTLE.section(major=2), r"version 2\.0", id="other version"),
        pytest.param(LITTLE.section()[:8] + bytes(20), "byte order", id="no byte order"),
    ],
)
def test_damage_is_reported_with_its_place(block: bytes, what: str):
    """All before it was given, nothing is guessed, nothing is allocated for a mad length."""
    good = LITTLE.section() + LITTLE.interface() + LITTLE.packet(b"good")
    found, error = until_error(good + block)
    assert len(found) == 2
    assert error is not None
    assert error.offset == len(good)
    with pytest.raises(CaptureError, match=what):
        raise error


def test_a_simple_packet_needs_an_interface():
    """Its link type would be unknown."""
    _, error = until_error(LITTLE.section() + LITTLE.block(3, LITTLE.pack("I", 0)))
    assert error is not None


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5), st.data())
def test_no_damage_raises_anything_else(changes: list[tuple[int, int]], data: st.DataObject):
    """Whoever reads a file has one error to expect."""
    damaged = bytearray(b"".join(small(data.draw(st.sampled_from([LITTLE, BIG])))))
    for place, value in changes:
        damaged[place % len(damaged)] = value
    until_error(bytes(damaged))
    with contextlib.suppress(CaptureError):
        assert intact_length(pcapng.spans(io.BytesIO(damaged))) <= len(damaged)


class Endless(io.RawIOBase):
    """A capture that never ends, and counts what was asked of it."""

    def __init__(self) -> None:
        self.given = 0
        self._blocks = self._make()
        self._rest = b""

    def _make(self) -> Iterator[bytes]:
        yield LITTLE.section() + LITTLE.interface()
        while True:
            yield LITTLE.packet(bytes(1000))

    def read(self, size: int = -1) -> bytes:
        """Return as much as was asked for."""
        while len(self._rest) < size:
            self._rest += next(self._blocks)
        data, self._rest = self._rest[:size], self._rest[size:]
        self.given += size
        return data


def test_reading_takes_one_block_at_a_time():
    """A capture may be larger than memory, or still being written."""
    file = Endless()
    packets = pcapng.read(file)  # type: ignore[arg-type]
    for _ in range(11):
        next(packets)
    assert file.given < 11_000
