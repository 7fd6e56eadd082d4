"""What is missing, and what does not fit: when it is given up, and what it then was."""

import pytest

from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.packet import ACK, FIN, RST, SYN, Segment
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened
from lbcproxy.endpoint import Endpoint
from tests.session.frames import version

CLIENT, SERVER = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
SECOND = 1_000_000_000
WRAP = 1 << 32
MIB = 1 << 20


class Tap:
    """A capture that is read segment by segment."""

    def __init__(self, *, handshake=True):
        self.reassembler = Reassembler()
        self.time = 5
        if handshake:
            self.up(100, flags=SYN)
            self.down(500, flags=SYN | ACK, ack=101)
            self.up(101)

    def up(self, sequence, data=b"", flags=ACK, ack=501, window=0xFFFF, **named):
        """Read a segment of the client."""
        segment = Segment(CLIENT, SERVER, sequence % WRAP, ack % WRAP, flags, data, window)
        return self.reassembler.feed(self.time, segment, **named)

    def down(self, sequence=501, data=b"", flags=ACK, ack=101, window=0xFFFF):
        """Read a segment of the server."""
        segment = Segment(SERVER, CLIENT, sequence % WRAP, ack % WRAP, flags, data, window)
        return self.reassembler.feed(self.time, segment)

    def finish(self):
        """End the capture."""
        return self.reassembler.finish()

    @property
    def dropped(self):
        """What was not passed on: packets and bytes by reason."""
        return {
            each["reason"]: (each["packets"], each["bytes"])
            for each in self.reassembler.dropped.to_list()
        }


def test_a_hole_and_what_follows_it_come_together():
    """With the packet that makes it one: 257 later than the acknowledgment."""
    tap = Tap()
    tap.up(104, b"def")
    tap.down(ack=107)
    found = [tap.down(ack=107) for _ in range(257)]
    assert found == [[]] * 256 + [[Gap(1, True, 3, 5), Data(1, True, b"def", 5)]]


@pytest.mark.parametrize(("later", "is_hole"), [(SECOND, False), (SECOND + 1, True)])
def test_a_hole_is_one_after_a_second(later, is_hole):
    """Packets may be out of order until then."""
    tap = Tap()
    tap.up(104, b"def")
    tap.down(ack=107)
    tap.time += later
    assert len(tap.down(ack=107)) == (2 if is_hole else 0)


def test_a_hole_that_is_known_is_given_up_at_once():
    """By an annotation of the packet after it; what waits before that is passed on."""
    tap = Tap()
    tap.up(103, b"cd")
    assert tap.up(109, b"ij", missing=4) == [
        Gap(1, True, 2, 5),
        Data(1, True, b"cd", 5),
        Gap(1, True, 4, 5),
        Data(1, True, b"ij", 5),
    ]
    assert tap.up(111, b"k", missing=0) == [Data(1, True, b"k", 5)]
    assert tap.up(112, b"l", missing=7) == [Data(1, True, b"l", 5)]  # nothing is missing
    tap = Tap(handshake=False)
    assert tap.up(109, b"ij", missing=4) == [
        Opened(1, CLIENT, SERVER, 5, False),
        Data(1, True, b"ij", 5),
    ]


def test_bytes_that_are_not_passed_on_are_counted():
    """A reset has none."""
    tap = Tap()
    tap.up(101, b"abc")
    tap.up(101, b"xyz")
    tap.up(50_000_000, flags=RST)
    tap.finish()
    assert tap.dropped == {DropReason.CONFLICT: (1, 3), DropReason.IGNORED_RESET: (1, 0)}


@pytest.mark.parametrize(("sequence", "is_reset"), [(104, True), (105, True), (106, False)])
def test_a_reset_after_a_fin(sequence, is_reset):
    """Both numbers occur: that of the FIN, and that after it."""
    tap = Tap()
    tap.up(101, b"abc")
    tap.up(104, flags=FIN | ACK)
    found = tap.up(sequence, flags=RST)
    assert found == ([Closed(1, True, True, 5)] if is_reset else [])


@pytest.mark.parametrize(("acknowledged", "ignored"), [(111, False), (112, True)])
def test_a_reset_is_not_obeyed_where_the_receiver_goes_on(acknowledged, ignored):
    """It has acknowledged more than the number of the reset, and of a FIN there."""
    tap = Tap()
    assert tap.up(110, flags=RST) == []
    assert tap.down(ack=acknowledged) == []
    assert (DropReason.IGNORED_RESET in tap.dropped) is ignored
    found = tap.finish()
    assert any(isinstance(each, Closed) and each.reset for each in found) is not ignored


@pytest.mark.parametrize(("inside", "data"), [(True, b"far"), (False, None)])
def test_segments_far_ahead_are_the_stream_if_they_are_acknowledged(inside, data):
    """An acknowledgment of another place shows nothing."""
    tap = Tap()
    tap.up(101, b"abc")
    far = 104 + 50 * MIB
    assert tap.up(far, b"far") == []
    assert tap.down(ack=far + 3 if inside else far + 200 * MIB) == []
    tap.time += 2 * SECOND
    found = tap.down(ack=far + 3 if inside else far + 200 * MIB) + tap.finish()
    assert [each.data for each in found if isinstance(each, Data)] == ([data] if data else [])
    assert [each.missing for each in found if isinstance(each, Gap)] == ([50 * MIB] * inside)
    assert tap.dropped == ({} if inside else {DropReason.OUTSIDE_WINDOW: (1, 3)})


@pytest.mark.parametrize(("ahead", "fits"), [(160 * 1024, True), (160 * 1024 + 1, False)])
def test_a_window_is_scaled_as_far_as_it_may_be_if_its_syn_is_missing(ahead, fits):
    """By 14 bits (RFC 7323)."""
    tap = Tap(handshake=False)
    tap.up(101, b"a", ack=501)
    tap.down(501, b"b", ack=102, window=10)
    assert tap.up(102 + ahead, b"c", ack=502) == []
    found = tap.finish()
    assert [each.missing for each in found if isinstance(each, Gap)] == ([ahead] if fits else [])


@pytest.mark.parametrize(("ahead", "fits"), [(65_536, True), (70_000, False)])
def test_a_window_without_scales_is_what_it_says(ahead, fits):
    """The SYNs have none; 64 KiB fit whatever it says."""
    tap = Tap()
    tap.down(ack=101, window=10)
    tap.up(101 + ahead, b"c")
    found = tap.finish()
    assert [each.missing for each in found if isinstance(each, Gap)] == ([ahead] if fits else [])


def test_a_stray_is_given_up_once_the_stream_has_gone_on_elsewhere():
    """A second later, not at the end of the capture."""
    tap = Tap()
    assert tap.up(101 + 50 * MIB, b"far") == []
    tap.up(101, b"abc")
    tap.time += SECOND
    tap.up(104, b"d")
    assert tap.dropped == {}
    tap.time += SECOND + 1
    tap.up(105, flags=ACK)
    tap.up(105, b"e")
    assert tap.dropped == {DropReason.OUTSIDE_WINDOW: (1, 3)}
    assert tap.finish() == []


def test_what_did_not_fit_may_fit_later():
    """Then it comes at once if it is next."""
    tap = Tap()
    tap.down(ack=101, window=0xFFFF)
    assert tap.up(101 + 70_000, b"next") == []
    assert tap.up(101, bytes(70_000)) == [
        Data(1, True, bytes(70_000), 5),
        Data(1, True, b"next", 5),
    ]
    assert tap.dropped == {}


@pytest.mark.parametrize(("later", "is_reset"), [(SECOND, False), (SECOND + 1, True)])
def test_a_reset_after_bytes_that_the_tap_has_lost(later, is_reset):
    """The receiver has acknowledged them, and nothing else comes."""
    tap = Tap()
    tap.time = 10 * SECOND
    assert tap.down(ack=110) == []
    assert tap.up(110, flags=RST) == []
    tap.time += later
    found = tap.down(ack=110)
    assert [type(each) for each in found] == ([Gap, Closed] if is_reset else [])


MINUTE = 60 * SECOND


@pytest.mark.parametrize(("later", "is_reset"), [(20 * MINUTE, False), (20 * MINUTE + 1, True)])
def test_a_reset_ahead_is_believed_after_twenty_minutes(later, is_reset):
    """Counted from the last bytes."""
    tap = Tap()
    tap.time = 10 * SECOND
    tap.up(110, flags=RST)
    tap.down(501, b"still there")
    tap.time += later
    found = tap.down(512, flags=ACK)
    found += tap.reassembler.tick(tap.time)
    assert [type(each) for each in found] == ([Gap, Closed] if is_reset else [])


@pytest.mark.parametrize(("later", "believed"), [(SECOND, True), (SECOND + 1, False)])
def test_new_bytes_show_that_a_reset_was_ignored(later, believed):
    """Unless they were in flight; also those of the other side."""
    tap = Tap()
    tap.time = 10 * SECOND
    assert tap.up(110, flags=RST) == []
    tap.time += later
    assert tap.down(501, b"x") == [Data(1, False, b"x", tap.time)]
    assert (tap.dropped == {}) is believed
    found = tap.finish()
    assert [each.reset for each in found if isinstance(each, Closed)] == (
        [True] if believed else []
    )


def test_a_reset_may_end_segments_that_do_not_fit():
    """It is of the stream if they are."""
    tap = Tap()
    tap.up(101, b"abc")
    far = 104 + 50 * MIB
    tap.up(far, b"far")
    waiting = tap.reassembler._cost
    assert tap.up(far + 3, flags=RST) == []
    assert tap.reassembler._cost > waiting
    tap.down(ack=far + 3)
    tap.time += 2 * SECOND
    found = tap.down(ack=far + 3) + tap.finish()
    assert [type(each) for each in found] == [Gap, Data, Closed]
    assert tap.dropped == {}
    assert tap.reassembler._cost == 0


# What no receiver would accept.


def test_both_sides_may_open_a_connection():
    """At the same time (RFC 9293, 3.5)."""
    tap = Tap(handshake=False)
    assert tap.up(100, flags=SYN, ack=0) == [Opened(1, CLIENT, SERVER, 5)]
    assert tap.down(500, flags=SYN, ack=0) == []
    assert tap.up(101, b"a") == [Data(1, True, b"a", 5)]
    assert tap.down(501, b"b", ack=102) == [Data(1, False, b"b", 5)]


def test_the_answer_to_a_syn_need_not_be_captured():
    """The client has it, and acknowledges it."""
    tap = Tap(handshake=False)
    tap.up(100, flags=SYN, ack=0)
    tap.up(101, ack=501)
    assert tap.down(501, b"b", flags=0) == [Data(1, False, b"b", 5)]
    assert tap.dropped == {}


def test_bytes_that_were_acknowledged_long_ago_are_not_the_beginning():
    """Of a capture that begins in the middle; those of just now may be."""
    for before, is_beginning in ((1_000_000, False), (60_000, True)):
        tap = Tap(handshake=False)
        tap.down(500, b"b", ack=10_000_000)
        found = tap.up(10_000_000 - before, b"old")
        assert found == ([Data(1, True, b"old", 5)] if is_beginning else [])
        assert tap.dropped == ({} if is_beginning else {DropReason.OUTSIDE_WINDOW: (1, 3)})


def test_an_empty_segment_shows_where_its_sender_is():
    """At the next byte of the stream, not where the stray was."""
    for offset, is_stray in ((0, True), (50, False)):
        tap = Tap()
        tap.up(101 + 50 * MIB, b"far")
        tap.time += SECOND
        tap.up(101 + offset)
        tap.time += SECOND + 1
        tap.down(501, b"b")
        assert tap.dropped == ({DropReason.OUTSIDE_WINDOW: (1, 3)} if is_stray else {})


def test_nothing_comes_after_the_end():
    """What does is counted; what came before it is passed on."""
    tap = Tap()
    assert tap.up(104, flags=FIN | ACK) == []
    assert tap.up(101, b"abcdef") == [Data(1, True, b"abc", 5), Closed(1, True, False, 5)]
    assert tap.dropped == {DropReason.AFTER_END: (1, 3)}
    assert tap.up(104, b"more") == []
    assert tap.dropped == {DropReason.AFTER_END: (2, 7)}


def test_strays_are_bounded():
    """The oldest is given up."""
    tap = Tap()
    for number in range(1, 5):
        tap.up(101 + number * 50 * MIB, b"x" * number)
        assert tap.dropped == {}
    tap.up(101 + 5 * 50 * MIB, b"xxxxx")
    assert tap.dropped == {DropReason.OUTSIDE_WINDOW: (1, 1)}


def test_a_hole_is_given_up_when_too_much_waits_for_it():
    """More than a window of 16 MiB; nobody has acknowledged anything."""
    tap = Tap(handshake=False)
    tap.up(101, b"a")
    found = [tap.up(103 + number * MIB, bytes(MIB)) for number in range(16)]
    assert found[:15] == [[]] * 15
    assert found[15][0] == Gap(1, True, 1, 5)
    assert len(found[15]) == 17


def test_strays_are_counted_when_their_connection_is_reset():
    """By whichever side."""
    for reset in (lambda tap: tap.up(101, flags=RST), lambda tap: tap.down(501, flags=RST)):
        tap = Tap()
        tap.up(101 + 50 * MIB, b"far")
        assert [type(each) for each in reset(tap)] == [Closed]
        assert tap.dropped == {DropReason.OUTSIDE_WINDOW: (1, 3)}


def test_a_reset_before_bytes_that_were_not_captured_was_ignored():
    """Its sender has gone on far ahead."""
    tap = Tap()
    tap.up(101, b"abc")
    tap.up(110, flags=RST)
    far = 104 + 50 * MIB
    tap.up(far, b"far")
    tap.down(ack=far + 3)
    assert tap.dropped == {}
    tap.time += 2 * SECOND
    found = tap.down(ack=far + 3)
    assert [type(each) for each in found] == [Gap, Data]
    assert tap.dropped == {DropReason.IGNORED_RESET: (1, 0)}
    assert tap.finish() == []


def test_bytes_of_before_the_capture_are_given_up_at_once():
    """A `version` there may begin another connection."""
    tap = Tap()
    tap.up(101 - 70_000, b"old")
    assert tap.dropped == {DropReason.OUTSIDE_WINDOW: (1, 3)}
    tap = Tap()
    tap.up(101 - 70_000, version())
    assert tap.dropped == {}


def test_a_session_elsewhere_is_another_connection_in_the_order_of_its_packets():
    """Its SYNs were not captured, but it begins with `version`, whoever sends it first."""
    tap = Tap()
    tap.up(101, b"abc")
    server, client = 50 * MIB, 90 * MIB
    size = len(version())
    tap.time = 6
    tap.down(server, version(), ack=client)
    tap.time = 7
    tap.up(client, version(), ack=server + size)
    tap.time = 8
    tap.down(server + size, b"more", ack=client + size)
    tap.time += 2 * SECOND
    found = tap.up(client + size, b"and more", ack=server + size + 4) + tap.finish()
    opened = next(each for each in found if isinstance(each, Opened))
    assert (opened.connection, opened.time_ns, opened.begun) == (2, 6, False)
    data = [(each.from_client, each.time_ns) for each in found if isinstance(each, Data)]
    assert data == [(False, 6), (True, 7), (False, 8), (True, 8 + 2 * SECOND)]
