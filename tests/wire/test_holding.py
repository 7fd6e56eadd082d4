"""What a framer holds: how much, why, and how it is given up."""

import pytest

from lbcproxy import networks
from lbcproxy.wire import Frame, FrameEnd, FramePart, Framer, FrameStart, Junk, Run
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.junk import JUNK_SIZE
from lbcproxy.wire.rules import MAX_PAYLOAD
from lbcproxy.wire.scan import SCANS, known_commands

LBRY = networks.get("lbry-mainnet")
PING = frame(LBRY.magic, "ping", b"12345678")
LONG = frame(LBRY.magic, "block", bytes(1000))
NOISE = bytes(range(1, 200))


def header(length: int) -> bytes:
    """Return the header of a block that claims some length."""
    return LBRY.magic + b"block".ljust(12, b"\0") + length.to_bytes(4, "little") + bytes(4)


# How much is held.


def test_a_frame_is_buffered_until_it_is_complete():
    """And nothing of those before it."""
    framer = Framer(LBRY)
    assert framer.buffered == 0
    [ping] = framer.feed(PING + LONG[:500])
    assert ping == Frame("ping", PING)
    assert framer.buffered == 500
    assert 500 <= framer.memory < 2_000
    assert framer.feed(LONG[500:-1]) == []
    assert framer.buffered == len(LONG) - 1
    [block] = framer.feed(LONG[-1:])
    assert block.raw == LONG
    assert framer.buffered == 0
    assert framer.memory < 100


@pytest.mark.parametrize("extra", [0, 1])
def test_the_longest_frame_is_waited_for_and_a_longer_one_is_not(extra: int):
    """What no node would send must not cost memory."""
    framer = Framer(LBRY)
    items = framer.feed(header(MAX_PAYLOAD + extra))
    if extra:
        [junk] = items
        why = "'block' claims 33554433 bytes, at most 33554432 allowed"
        assert junk == Junk(header(MAX_PAYLOAD + 1), why)
        assert framer.buffered == 0
    else:
        assert items == []
        assert framer.buffered == HEADER_SIZE


def test_frames_above_the_limit_come_in_parts_and_those_at_it_whole():
    """Its payload counts, not its header."""
    assert [type(each) for each in Framer(LBRY, 1000).feed(LONG)] == [Frame]
    assert [type(each) for each in Framer(LBRY, 999).feed(LONG)] == [
        FrameStart,
        FramePart,
        FrameEnd,
    ]
    wanted = Framer(LBRY, 999, buffered_commands=frozenset({"block"}))
    assert [type(each) for each in wanted.feed(LONG)] == [Frame]


def test_at_most_64_kib_of_junk_are_buffered_unless_it_passes_as_it_arrives():
    """Its end shows with the next magic only."""
    framer = Framer(LBRY)
    noise = bytes(JUNK_SIZE - 1)
    assert framer.feed(noise) == []
    assert framer.buffered == JUNK_SIZE - 1
    [junk] = framer.feed(b"\0\0")
    assert len(junk.raw) == JUNK_SIZE
    assert framer.buffered == 1
    passing = Framer(LBRY, 1000)
    [junk] = passing.feed(noise)
    assert (junk.raw, passing.buffered) == (noise, 0)
    assert passing.feed(noise + LBRY.magic[:3])[0].raw == noise
    assert passing.buffered == 3


def test_what_a_stream_begins_with_waits_for_a_command():
    """Bytes 4 to 15 show whether it is a frame of another network, or none."""
    framer = Framer(LBRY, stream_above=1000)
    assert framer.feed(bytes(15)) == []
    [junk] = framer.feed(bytes(1))
    assert junk.raw == bytes(16)


def test_junk_is_not_searched_twice():
    """A megabyte that comes byte by byte must not take a day."""

    class Counted(bytearray):
        searched = 0

        def find(self, magic, start):
            Counted.searched += len(self) - start
            return super().find(magic, start)

    framer = Framer(LBRY, at_stream_start=False)
    framer._buffer = Counted()
    for _ in range(1000):
        framer.feed(b"\x05")
    assert framer.buffered == 1000
    assert Counted.searched < 10_000


# Giving it up.


def test_buffered_bytes_can_be_taken():
    """The framer begins again after it, in the middle of a stream."""
    framer = Framer(LBRY)
    framer.feed(LONG[:500])
    assert framer.take_buffered() == LONG[:500]
    assert framer.take_buffered() == b""
    assert framer.buffered == 0
    assert framer.feed(PING) == [Frame("ping", PING)]


def test_buffered_bytes_can_be_released_without_a_copy():
    """There may be no memory for one. What comes next is not the beginning of the stream."""
    framer = Framer(LBRY)
    framer.feed(NOISE[:10])
    assert framer.release() == bytearray(NOISE[:10])
    assert (framer.buffered, framer.release()) == (0, bytearray())
    [junk, ping] = framer.feed(NOISE + PING)
    assert "BIP324" not in junk.why
    assert ping == Frame("ping", PING)


def test_after_a_release_a_magic_is_found_at_once():
    """Where the search had come to says nothing about other bytes."""
    framer = Framer(LBRY, at_stream_start=False)
    framer.feed(bytes(100))
    framer.release()
    [junk, ping] = framer.feed(b"\1\2\3\4\5" + PING)
    assert (junk.raw, ping) == (b"\1\2\3\4\5", Frame("ping", PING))


def test_the_beginning_of_a_frame_can_be_passed_on_before_its_end():
    """Memory is short: the rest comes in parts, and the checksum is still checked."""
    framer = Framer(LBRY)
    framer.feed(LONG[:500])
    assert framer.release_partial() == [
        FrameStart("block", 1000, LONG[:HEADER_SIZE]),
        FramePart(LONG[HEADER_SIZE:500]),
    ]
    assert framer.buffered == 0
    assert framer.release_partial() == []
    assert framer.feed(LONG[500:-1]) == [FramePart(LONG[500:-1])]
    assert framer.feed(b"\1" + PING) == [
        FramePart(b"\1"),
        FrameEnd(Framer(LBRY).feed(LONG[:-1] + b"\1")[0].error),
        Frame("ping", PING),
    ]


def test_a_header_alone_can_be_passed_on_and_less_cannot():
    """Of what is not a frame, or less than a header, nobody knows how it goes on."""
    framer = Framer(LBRY)
    framer.feed(LONG[: HEADER_SIZE - 1])
    assert framer.release_partial() == []
    framer.feed(LONG[HEADER_SIZE - 1 : HEADER_SIZE])
    assert framer.release_partial() == [FrameStart("block", 1000, LONG[:HEADER_SIZE])]
    junk = Framer(LBRY)
    junk.feed(NOISE)
    assert junk.release_partial() == []
    assert junk.buffered == len(NOISE)


# Why.


def test_a_framer_says_why_what_it_holds_cannot_begin_a_frame():
    """A peer that must be able to read closes the connection for it."""
    framer = Framer(LBRY)
    assert framer.desync_reason == ""
    framer.feed(b"\1\2\3")
    assert framer.desync_reason == ""  # nothing is known of less than a magic
    framer.feed(b"\4")
    assert "BIP324" in framer.desync_reason
    later = Framer(LBRY)
    later.feed(PING + LONG[:4])
    assert later.desync_reason == ""
    later.feed(LONG[4:] + b"\1\2\3\4")
    assert later.desync_reason == "01020304 is not the network's magic fae4aaf1"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (LBRY.magic[:2], "cut off, 22 bytes of a header missing"),
        (LONG[: HEADER_SIZE - 1], "cut off, 1 bytes of a header missing"),
        (LONG[:HEADER_SIZE], "'block' cut off, 1000 bytes missing"),
        (LONG[:-1], "'block' cut off, 1 bytes missing"),
        (b"\1\2", "0102 is not the network's magic fae4aaf1"),
    ],
)
def test_what_is_missing_at_the_end_of_a_stream(end: bytes, why: str):
    """What is held then is not a frame; once it was said, nothing is left to say."""
    framer = Framer(LBRY)
    framer.feed(PING + end)
    assert framer.close() == [Junk(end, why)]
    assert framer.close() == []


def test_a_long_frame_that_is_cut_off_ends_once():
    """And the next bytes, if there are any, begin again."""
    framer = Framer(LBRY, 100)
    framer.feed(LONG[:-5])
    assert framer.close() == [FrameEnd("cut off, 5 bytes missing")]
    assert framer.close() == []
    assert framer.feed(PING) == [Frame("ping", PING)]


def test_a_long_frame_says_at_its_end_what_is_wrong_with_its_header():
    """That counts before its checksum."""
    bad = frame(LBRY.magic, "nonsense", bytes(1000))
    for raw in (bad, bad[:-1] + b"\1"):
        assert Framer(LBRY, 100).feed(raw)[-1] == FrameEnd("unknown command 'nonsense'")


def test_a_long_frame_arrives_in_any_pieces():
    """Those that come after its header are not copied through the buffer."""
    framer = Framer(LBRY, 100)
    items = framer.feed(LONG[:10])
    assert items == []
    items += framer.feed(LONG[10:30])
    items += framer.feed(LONG[30:40])
    items += framer.feed(LONG[40:] + PING + LONG[:30])
    parts = [each.raw for each in items if isinstance(each, FramePart)]
    assert parts == [LONG[24:30], LONG[30:40], LONG[40:], LONG[24:30]]
    assert items.count(FrameEnd(None)) == 1
    assert framer.feed(b"") == []


# Forwarding before reading.


def test_what_is_held_or_not_yet_known_is_not_forwarded_unparsed():
    """At the start of a stream, after half a header, and before the first frame of a middle."""
    framer = Framer(LBRY, 100)
    assert not framer.can_forward_unparsed(LONG)
    framer.feed(PING)
    assert framer.can_forward_unparsed(LONG)
    framer.feed(LONG[:10])
    assert not framer.can_forward_unparsed(LONG)
    middle = Framer(LBRY, 100, at_stream_start=False)
    assert not middle.can_forward_unparsed(LONG)
    middle.feed(PING)
    assert middle.can_forward_unparsed(LONG)


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        (LONG, True),
        (LONG[:HEADER_SIZE], True),
        (LONG[: HEADER_SIZE - 1], False),
        (LONG + LONG[:100], True),
        (LONG + LONG[:10], False),
        (LONG + PING, False),
        (header(MAX_PAYLOAD), True),
        (header(MAX_PAYLOAD + 1), False),
        (b"\1" + LONG, False),
    ],
)
def test_long_frames_alone_are_forwarded_unparsed(data: bytes, passes: bool):
    """Each header is looked at, and all of it must be there."""
    framer = Framer(LBRY, 100)
    framer.feed(PING)
    assert framer.can_forward_unparsed(data) is passes


# Runs.


def test_a_framer_notes_what_it_has_completed_only_while_it_reads():
    """What a call that raised had completed must not be lost, nor be delivered twice."""
    framer = Framer(LBRY)
    assert framer.completed == []
    framer.feed(PING)
    assert framer.completed == []
    framer._next = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        framer.feed(PING)
    assert framer.completed == [Frame("ping", PING)]


def test_runs_are_only_for_those_who_want_them():
    """And can be wanted later."""
    framer = Framer(LBRY, individually=frozenset())
    assert [type(each) for each in framer.feed(PING * 2)] == [Run]
    framer.configure(None)
    assert [type(each) for each in framer.feed(PING * 2)] == [Frame, Frame]
    framer.configure(None, frozenset({"ping"}))
    assert [type(each) for each in framer.feed(PING * 2)] == [Frame, Frame]
    framer.configure(4, frozenset(), frozenset({"ping"}))
    assert [type(each) for each in framer.feed(PING)] == [Frame]


def test_after_a_run_a_magic_begins_a_frame_again():
    """In the middle of a stream it only does if a command follows, until the first frame."""
    odd = frame(LBRY.magic, "\x01odd", b"")
    framer = Framer(LBRY, at_stream_start=False)
    assert [type(each) for each in framer.feed(odd + PING + odd)] == [Junk, Frame, Frame]
    runs = Framer(LBRY, at_stream_start=False, individually=frozenset())
    assert [type(each) for each in runs.feed(odd + PING + odd)] == [Junk, Run, Frame]


def test_after_noise_in_a_stream_of_frames_a_magic_begins_a_frame():
    """Whatever its command: only a stream that begins with noise is one of another protocol."""
    odd = frame(LBRY.magic, "\x01odd", b"")
    assert [type(each) for each in Framer(LBRY).feed(PING + NOISE + odd)] == [Frame, Junk, Frame]


def test_the_table_of_commands_that_make_runs():
    """Those that have a record, are not excluded, exist at this version, up to their limit."""
    known = known_commands(LBRY, None, frozenset({"pong"}))
    assert known[b"ping".ljust(12, b"\0")] == ("ping", 8)
    assert known[b"block".ljust(12, b"\0")] == ("block", 8_000_000)
    assert b"pong".ljust(12, b"\0") not in known
    assert all(len(name) == 12 for name in known)
    less = known_commands(LBRY, 7, frozenset())
    assert less[b"ping".ljust(12, b"\0")] == ("ping", 7)
    assert less[b"verack".ljust(12, b"\0")] == ("verack", 0)


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_stops_at_the_first_frame_that_is_not_valid(name: str):
    """Of another network, of an unknown command, too long, incomplete, or damaged."""
    scan, known = SCANS[name], {b"ping".ljust(12, b"\0"): ("ping", 8)}
    bad = [
        frame(b"\1\2\3\4", "ping", b""),
        frame(LBRY.magic, "pong", b""),
        frame(LBRY.magic, "ping", bytes(9)),
        PING[:-1],
        PING[:-1] + b"\0",
        LBRY.magic,
    ]
    for each in bad:
        assert scan(PING + PING[:16] + PING[16:] + each, LBRY.magic, known) == (
            ["ping", "ping"],
            [32, 64],
        )
    assert scan(frame(LBRY.magic, "ping", b""), LBRY.magic, known) == (["ping"], [24])
