"""Notes in a capture: a comment for people, and JSON for lbcproxy's reader."""

import io

import msgspec
import pytest

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.packet import Statistics
from lbcproxy.capture.writing.notes import (
    PacketNote,
    comment_of,
    custom_of,
    lost_block,
    note_options,
)
from lbcproxy.capture.writing.pcapng_blocks import build_block
from lbcproxy.session import Lost

MOST = 65_000
HEAD = build_block(pcapng.SECTION, b"\x4d\x3c\x2b\x1a\x01\x00\x00\x00" + b"\xff" * 8)
INTERFACE = build_block(pcapng.INTERFACE, bytes(8))


def read(block):
    """Return the statistics in a block."""
    items = pcapng.read(io.BytesIO(HEAD + INTERFACE + block))
    [found] = [each for each in items if isinstance(each, Statistics)]
    return found


def parsed(fields):
    """Return what is left of some fields."""
    value = custom_of(fields)
    assert value[:4] == pcapng.PEN.to_bytes(4, "little")
    assert len(value) <= MOST + 4
    found = msgspec.json.decode(value[4:])
    assert found.pop("schema") == "lbcproxy/1"
    return found


@pytest.mark.parametrize(
    ("lost", "before", "count"),
    [
        (Lost(messages=3, size=99), 0, 3),
        (Lost(messages=3, size=99), 4, 7),
        (Lost(packets=5), 0, 5),
        (Lost(messages=3, packets=5), 1, 4),
        (Lost(messages=3), 2**64 - 4, 2**64 - 1),
        (Lost(messages=3), 2**64 - 1, 2**64 - 1),
    ],
)
def test_what_is_lost_is_said_for_wireshark_too(lost, before, count):
    """As the counter of an interface, which is a total."""
    time_ns = 1_700_000_000_123_456_789
    found = read(lost_block(lost, time_ns, before))
    assert (found.dropped, found.interface) == (count, 0)
    assert found.custom
    assert msgspec.json.decode(found.custom[0], type=dict)["lost"] == msgspec.to_builtins(lost)


@pytest.mark.parametrize("time_ns", [0, (1 << 32) - 1, 1 << 32, (5 << 32) + 7, (1 << 64) - 1])
def test_the_time_of_a_loss(time_ns):
    """In units of the interface, high and low half."""
    block = lost_block(Lost(messages=1), time_ns)
    high, low = (int.from_bytes(block[at : at + 4], "little") for at in (12, 16))
    assert (high << 32) + low == time_ns


def test_the_cause_of_a_loss_is_for_people():
    """If it is known."""
    lost = Lost(messages=1)
    assert b"were not recorded before this\0" in lost_block(lost, 5) + b"\0"
    block = lost_block(msgspec.structs.replace(lost, why="no room"), 5)
    assert b"were not recorded before this: no room" in block


@pytest.mark.parametrize("size", [MOST, MOST + 1])
def test_a_comment_is_cut_between_characters(size):
    """To what an option can hold."""
    assert len(comment_of("a" * size)) == MOST
    found = comment_of("a" * (size - 2) + "\N{EURO SIGN}")
    assert found == b"a" * min(size - 2, MOST)
    assert comment_of("a\ud800b") == b"a\\ud800b"


def test_a_packet_without_a_note_has_no_options():
    """With one it has two."""
    assert note_options(None) == b""
    options = note_options(PacketNote("said", {"a": 1}))
    assert b"said" in options
    assert b'{"schema":"lbcproxy/1","a":1}' in options


def test_values_that_are_too_long_are_left_out():
    """The longest first, until the rest fits; their keys are kept."""
    assert parsed({"a": 1, "b": "x" * (MOST - 100)}) == {"a": 1, "b": "x" * (MOST - 100)}
    assert parsed({"a": 1, "b": "x" * MOST}) == {"a": 1, "omitted": ["b"]}
    assert parsed({"a": "x" * 40_000, "b": "y" * 30_000, "c": "z" * 10_000}) == {
        "b": "y" * 30_000,
        "c": "z" * 10_000,
        "omitted": ["a"],
    }
    key = "k" * 500
    assert parsed({key: "x" * MOST}) == {"omitted": ["k" * 100]}


def test_exactly_as_much_as_fits_is_kept():
    """A byte more, and it is left out."""
    room = MOST - len(msgspec.json.encode({"schema": "lbcproxy/1", "a": ""}))
    assert parsed({"a": "x" * room}) == {"a": "x" * room}
    assert parsed({"a": "x" * (room + 1)}) == {"omitted": ["a"]}
