"""Frames over an encrypted connection, between two sides that speak for themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.transport.curve import MissingLibrary
from lbcproxy.transport.events import BreakCause
from lbcproxy.transport.frames import AcceptingTransport, FrameTransport
from lbcproxy.transport.messages import MAX_CONTENTS
from lbcproxy.wire.envelope import frame
from tests.transport.sides import KEYS, MAGIC

FRAMES = [frame(MAGIC, command, bytes(size)) for command, size in (("ping", 8), ("version", 100))]


def sides(garbage: bytes = b"") -> tuple[FrameTransport, FrameTransport]:
    """Return both sides of a connection."""
    return (
        FrameTransport(MAGIC, initiating=True, garbage=garbage, key=KEYS[0]),
        FrameTransport(MAGIC, initiating=False, garbage=garbage, key=KEYS[1]),
    )


def exchange(one: FrameTransport, other: FrameTransport, step: int = 1 << 20) -> list[bytes]:
    """Do a handshake in portions; return the frames that each of them got."""
    waiting = {id(one): other.begin(), id(other): one.begin()}
    got = {id(one): b"", id(other): b""}
    while any(waiting.values()):
        for side, opposite in ((one, other), (other, one)):
            data = waiting[id(side)]
            received = side.receive(data[:step])
            waiting[id(side)] = data[step:]
            waiting[id(opposite)] += received.output
            got[id(side)] += received.frames
            assert received.broken is None
    return [got[id(one)], got[id(other)]]


@settings(max_examples=25)
@given(step=st.integers(1, 300), garbage=st.binary(max_size=200))
def test_a_handshake(step: int, garbage: bytes):
    """In any portions; both sides then know the same session id."""
    one, other = sides(garbage)
    assert exchange(one, other, step) == [b"", b""]
    assert one.is_open
    assert other.is_open
    assert one.session_id == other.session_id is not None
    assert one.logged_secret == other.logged_secret is not None
    assert one.buffered == other.buffered == 0


def test_frames_wait_for_the_keys():
    """And are sent right after our version packet, in order."""
    one, other = sides()
    assert one.send(FRAMES[0]) == b""
    assert one.send(FRAMES[1] + FRAMES[0][:5]) == b""
    assert exchange(one, other) == [b"", FRAMES[0] + FRAMES[1]]
    assert one.buffered == 5
    assert other.receive(one.send(FRAMES[0][5:])).frames == FRAMES[0]


@given(st.lists(st.integers(1, 60), max_size=20))
def test_frames_in_any_portions(sizes: list[int]):
    """Give the same packets."""
    one, other = sides()
    exchange(one, other)
    stream = b"".join(FRAMES * 3)
    packets = b""
    rest = stream
    for size in sizes:
        packets += one.send(rest[:size])
        rest = rest[size:]
    packets += one.send(rest)
    assert other.receive(packets).frames == stream


def test_what_breaks_a_connection_is_told():
    """With the frames before it."""
    one, other = sides()
    exchange(one, other)
    good = one.send(FRAMES[0])
    bad = bytearray(one.send(FRAMES[1]))
    bad[10] ^= 1
    received = other.receive(good + bad)
    assert received.frames == FRAMES[0]
    assert received.broken is not None
    assert received.broken.cause is BreakCause.BAD_TAG


def test_a_connection_that_is_cut_off():
    """Anywhere but between two packets."""
    one, other = sides()
    assert other.close() is not None
    one, other = sides()
    exchange(one, other)
    assert other.close() is None
    other.receive(one.send(FRAMES[0])[:-1])
    broken = other.close()
    assert broken is not None
    assert broken.cause is BreakCause.CUT_OFF


def test_the_bytes_that_bring_the_keys():
    """Are named once, on both sides."""
    one, other = sides()
    key, answer = one.begin(), other.begin()
    assert not other.receive(key[:63]).agreed
    received = other.receive(key[63:])
    assert received.agreed
    assert one.receive(answer + received.output).agreed
    assert not other.receive(one.send(FRAMES[0])).agreed


def test_the_bytes_that_show_that_the_other_side_does_not_encrypt():
    """Are named as well; nothing of them is lost."""
    accepting = AcceptingTransport(MAGIC)
    version = frame(MAGIC, "version", bytes(100))
    assert accepting.receive(version[:15]) == (b"", b"", None, False)
    assert accepting.buffered == 15
    assert accepting.receive(version[15:]) == (version, b"", None, True)
    assert accepting.receive(FRAMES[0]) == (FRAMES[0], b"", None, False)
    assert accepting.buffered == 0


def test_a_missing_library_breaks_a_connection(monkeypatch: pytest.MonkeyPatch):
    """With what to install, and no other connection."""

    def missing(*_: object, **__: object) -> None:
        raise MissingLibrary("coincurve")

    monkeypatch.setattr("lbcproxy.transport.frames.FrameTransport", missing)
    received = AcceptingTransport(MAGIC).receive(b"x" * 64)
    assert received.broken is not None
    assert received.broken.cause is BreakCause.NO_LIBRARY
    assert "needs coincurve: install lbcproxy with its extra bip324" in received.broken.detail
    assert AcceptingTransport(MAGIC).receive(frame(MAGIC, "version", b"")).broken is None


WRONG = FRAMES[0][:20] + bytes(4) + FRAMES[0][24:]


@pytest.mark.parametrize(
    ("sent", "packets"),
    [
        (WRONG, 1),
        (FRAMES[0] + WRONG, 2),
        (b"x", 1),
        (FRAMES[0] + b"junk", 2),
        (MAGIC[:1] + b"x", 1),
    ],
)
def test_what_is_no_valid_frame_is_refused_by_the_other_side(sent: bytes, packets: int):
    """As over v1: a wrong checksum, or other bytes; what was sent before it arrives."""
    one, other = sides()
    exchange(one, other)
    received = other.receive(one.send(sent))
    assert received.frames == FRAMES[0] * (packets - 1)
    assert received.broken is not None
    assert received.broken.cause is BreakCause.BAD_TAG
    assert one.buffered == 0


def test_a_frame_may_begin_with_any_part_of_its_magic():
    """The rest is waited for."""
    one, other = sides()
    exchange(one, other)
    got = b"".join(other.receive(one.send(bytes((byte,)))).frames for byte in FRAMES[0])
    assert got == FRAMES[0]


def test_a_frame_that_is_too_long_is_refused_by_the_other_side():
    """The connection ends there, and not in whoever sends."""
    one, other = sides()
    exchange(one, other)
    received = other.receive(one.send(frame(MAGIC, "nobodyknows", bytes(MAX_CONTENTS - 12))))
    assert received.frames == b""
    assert received.broken is not None
    assert received.broken.cause is BreakCause.BAD_TAG
