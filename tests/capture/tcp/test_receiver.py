"""One direction as its receiver would put it in order: numbers, windows, what is buffered."""

import pytest

from lbcproxy.capture.packet import ACK, Segment
from lbcproxy.capture.tcp.detached import MAX_WINDOW, SEGMENT_COST, WRAP, PendingReset
from lbcproxy.capture.tcp.receiver import MAX_DETACHED, NO_SCALE, Receiver, gap_size
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE

CLIENT, SERVER = Endpoint("10.0.0.1", 5000), Endpoint("10.0.0.2", 9246)
STARTS = pytest.mark.parametrize("first", [100, WRAP - 5, 0])
KIB = 1024


def receiver(first=100, received=b""):
    """Return a direction that begins with a number, of which some bytes were received."""
    half = Receiver(True)
    half.begin(first)
    if received:
        half.deliver(received, 5, 1 << 20)
    return half


def segment(sequence, data=b"x"):
    """Return a segment of the client."""
    return Segment(CLIENT, SERVER, sequence % WRAP, 1, ACK, data)


def test_a_new_direction_knows_nothing():
    """Anything may be its beginning."""
    half = Receiver(False)
    assert (half.next, half.acknowledged, half.cost, half.closed) == (0, 0, 0, False)
    assert not half.waits
    assert half.fits(123, 5)
    assert half.is_new(123, 5)
    assert not half.covers(123, 0)
    assert not half.is_behind(123, 0)
    assert not half.is_at_end(123)
    assert half.may_begin_with(123)
    assert not half.is_long_acknowledged(123)
    assert not half.acknowledge(7, 100)
    assert half.acked_number == 7
    half.acknowledge(0, 100)
    assert (half.acked_number, half.edge, half.acknowledged) == (7, None, 0)


@pytest.mark.parametrize(
    ("distance", "size"),
    [(0, 0), (5, 5), ((1 << 31) - 1, (1 << 31) - 1), (1 << 31, UNKNOWN_SIZE)],
)
def test_above_half_the_numbers_a_gap_has_no_size(distance, size):
    """The order of the two numbers is ambiguous then."""
    assert gap_size(distance) == size


@STARTS
def test_offsets_do_not_wrap_around(first):
    """Of all candidates the one nearest to the next byte counts."""
    half = receiver(first)
    for base in (0, 1_000, 5_000_000_000):
        half.next = base
        for ahead in (0, 1, -1, 70_000, (1 << 31) - 1, -(1 << 31)):
            assert half.offset_of((first + base + ahead) % WRAP) == base + ahead
        assert half.offset_of((first + base + (1 << 31)) % WRAP) == base - (1 << 31)
        assert half.is_at((first + base) % WRAP)
        assert not half.is_at((first + base + 1) % WRAP)


@pytest.mark.parametrize("next_at", [0, 1_000_000])
def test_how_far_bytes_may_be_ahead(next_at):
    """As the window says, at least 64 KiB and at most 16 MiB."""
    half = receiver()
    half.next = next_at
    assert half.limit == next_at + MAX_WINDOW
    for edge, limit in (
        (next_at, 64 * KIB),
        (next_at + 64 * KIB, 64 * KIB),
        (next_at + 64 * KIB + 1, 64 * KIB + 1),
        (next_at + MAX_WINDOW, MAX_WINDOW),
        (next_at + MAX_WINDOW + 1, MAX_WINDOW),
    ):
        half.edge = edge
        assert half.limit == next_at + limit
    half.acknowledged, half.edge = next_at + 500, None
    assert half.limit == next_at + 500 + MAX_WINDOW


@STARTS
def test_numbers_that_may_be_the_first(first):
    """Shortly before what is known, or before what was acknowledged."""
    half = receiver(first)
    for before, may in ((0, True), (64 * KIB - 1, True), (64 * KIB, False), (-1, False)):
        assert half.may_begin_with((first - before) % WRAP) is may
    half = Receiver(True)
    half.acked_number = first
    for before, may in ((0, True), (MAX_WINDOW, True), (MAX_WINDOW + 1, False), (-1, False)):
        assert half.may_begin_with((first - before) % WRAP) is may
    for before, is_long in (
        (64 * KIB - 1, False),
        (64 * KIB, True),
        ((1 << 31) - 1, True),
        (1 << 31, False),
    ):
        assert half.is_long_acknowledged((first - before) % WRAP) is is_long


@STARTS
def test_what_fits_is_new_in_the_window_or_repeated(first):
    """At both ends of the window."""
    half = receiver(first, bytes(100_000))
    half.edge = 300_000

    def judge(offset, length):
        """Return whether bytes fit, are new, were all received, come shortly before."""
        sequence = (first + offset) % WRAP
        return (
            half.fits(sequence, length),
            half.is_new(sequence, length),
            half.covers(sequence, length),
            half.is_behind(sequence, length),
        )

    assert judge(100_000, 10) == (True, True, False, False)
    assert judge(300_000, 10) == (True, True, False, False)
    assert judge(300_001, 10) == (False, False, False, False)
    assert judge(99_990, 10) == (True, False, True, True)
    assert judge(99_990, 11) == (True, True, False, False)
    assert judge(0, 10) == (True, False, True, True)
    assert judge(-1, 1) == (True, False, True, True)  # a keep-alive
    assert judge(-2, 2) == (False, False, False, True)
    assert judge(100_000, 0) == (True, True, True, True)
    assert judge(99_999, 0) == (True, False, True, True)
    assert judge(-64 * KIB + 1, 64 * KIB + 100_000) == (True, True, False, False)
    assert judge(-64 * KIB, 64 * KIB + 100_001) == (False, False, False, False)
    half.closed = True
    assert judge(100_000, 1)[0] is True  # the number of the FIN
    assert judge(100_000, 2)[0] is False
    assert judge(50, 10)[0] is True


def test_repetitions_of_long_ago_are_not_known():
    """Their numbers may be another stream's."""
    half = receiver(0, bytes(1))
    half.next = 2 * MAX_WINDOW
    assert half.covers(MAX_WINDOW, 10)
    assert half.is_behind(MAX_WINDOW, 10)
    assert not half.covers(MAX_WINDOW - 1, 10)
    assert not half.is_behind(MAX_WINDOW - 1, 10)


@STARTS
def test_the_end_of_a_stream(first):
    """The number of a FIN, and that after it."""
    half = receiver(first, b"abc")
    found = [half.is_at_end((first + offset) % WRAP) for offset in (2, 3, 4, 5)]
    assert found == [False, True, True, False]


@STARTS
def test_acknowledgments(first):
    """Those that no receiver would send are ignored."""
    half = receiver(first, bytes(200_000))

    def acknowledge(offset, window=0):
        """Acknowledge bytes; return whether that may be, up to where, and the window's edge."""
        belongs = half.acknowledge((first + offset) % WRAP, window)
        return belongs, half.acknowledged, half.edge

    assert acknowledge(100_000, 50) == (True, 100_000, 100_050)
    assert acknowledge(99_999, 500) == (True, 100_000, 100_050)
    assert acknowledge(100_000 - 64 * KIB + 1, 500) == (True, 100_000, 100_050)
    assert acknowledge(100_000 - 64 * KIB, 500)[0] is False
    assert acknowledge(100_001, 10) == (True, 100_001, 100_050)  # the edge does not shrink
    assert acknowledge(200_000 + 64 * KIB + 1, 10) == (False, 100_001, 100_050)
    assert acknowledge(200_000 + 64 * KIB, 10) == (True, 265_536, 265_546)


def test_a_reset_at_what_is_acknowledged():
    """The receiver expects that byte."""
    half = receiver()
    assert not half.is_reset_acknowledged
    half.pending_reset = PendingReset(3, 1)
    assert half.waits
    assert not half.is_reset_acknowledged
    half.acknowledged = 3
    assert half.is_reset_acknowledged


# What is buffered.


def held(half):
    """Return what is buffered, by offset, and check what it costs."""
    pairs = list(zip(half._offsets, half._queue, strict=True))
    assert half.cost == sum(len(payload) + SEGMENT_COST for _, (payload, _) in pairs)
    assert half.waits is bool(pairs)
    return [(offset, payload, time_ns) for offset, (payload, time_ns) in pairs]


def test_bytes_wait_for_those_before_them():
    """In order of their numbers, each with its time."""
    half = receiver()
    assert half.hole_end() is None
    assert half.waiting_since() is None
    for offset, data, time_ns in ((6, b"gh", 1), (2, b"cd", 2), (4, b"ef", 3)):
        assert half.queue(offset, data, time_ns) == 0
    assert held(half) == [(2, b"cd", 2), (4, b"ef", 3), (6, b"gh", 1)]
    assert (half.hole_end(), half.waiting_since()) == (2, 2)
    assert half.pop() == []
    half.queue(9, b"j", 4)
    half.queue(0, b"ab", 5)
    assert half.pop() == [(b"ab", 5), (b"cd", 2), (b"ef", 3), (b"gh", 1)]
    assert held(half) == [(9, b"j", 4)]
    half.end = 20
    assert half.hole_end() == 9
    half.clear()
    assert half.hole_end() == 20
    assert held(half) == []


@pytest.mark.parametrize(
    ("offset", "data", "buffered"),
    [
        (2, b"cd", [(2, b"cd", 1), (6, b"gh", 1)]),
        (0, b"abcdefghij", [(0, b"ab", 2), (2, b"cd", 1), (4, b"ef", 2), (6, b"gh", 1)]),
        (1, b"bc", [(1, b"b", 2), (2, b"cd", 1), (6, b"gh", 1)]),
        (3, b"de", [(2, b"cd", 1), (4, b"e", 2), (6, b"gh", 1)]),
        (3, b"defg", [(2, b"cd", 1), (4, b"ef", 2), (6, b"gh", 1)]),
        (4, b"ef", [(2, b"cd", 1), (4, b"ef", 2), (6, b"gh", 1)]),
        (8, b"i", [(2, b"cd", 1), (6, b"gh", 1), (8, b"i", 2)]),
        (7, b"hi", [(2, b"cd", 1), (6, b"gh", 1), (8, b"i", 2)]),
        (0, b"ab", [(0, b"ab", 2), (2, b"cd", 1), (6, b"gh", 1)]),
    ],
)
def test_only_what_is_new_is_buffered(offset, data, buffered):
    """Whatever overlaps; where repeated bytes differ, the first ones stay."""
    text = b"abcdefghij"
    for differ in (False, True):
        half = receiver()
        half.queue(2, b"cd", 1)
        half.queue(6, b"gh", 1)
        sent = data.upper() if differ else data
        repeats = sum(at in range(offset, offset + len(data)) for at in (2, 3, 6, 7))
        assert half.queue(offset, sent, 2) == differ * repeats
        found = [(at, payload.lower(), time_ns) for at, payload, time_ns in held(half)]
        want = list(buffered)
        if data == text:
            want.append((8, b"ij", 2))
        assert found == want
        assert all(payload.islower() for at, payload, time_ns in held(half) if time_ns == 1)


def test_bytes_before_the_next_one_are_compared_and_cut_off():
    """As far as they are kept."""
    half = receiver(received=b"abcd")
    assert half.queue(2, b"cdef", 6) == 0
    assert held(half) == [(4, b"ef", 6)]
    assert half.queue(2, b"xdef", 6) == 2
    assert half.queue(0, b"abcd", 6) == 0
    assert half.queue(0, b"abcx", 6) == 4
    assert held(half) == [(4, b"ef", 6)]


def test_repetitions_are_compared():
    """But a keep-alive may have any byte."""
    half = receiver(received=b"ab")
    half.deliver(b"cd", 6, 1 << 20)
    for offset, data, differs in (
        (0, b"abcd", False),
        (0, b"xbcd", True),
        (0, b"abcx", True),
        (1, b"bc", False),
        (1, b"xc", True),
        (1, b"bx", True),
        (2, b"x", True),
        (3, b"x", False),
        (2, b"cx", True),
    ):
        assert half.repeats(offset, data) is differs


def test_only_so_many_received_bytes_are_kept():
    """The last ones; without them nothing differs."""
    half = receiver()
    size = 2 + SEGMENT_COST
    for data in (b"ab", b"cd", b"ef"):
        half.deliver(data, 6, 2 * size)
    assert not half.repeats(0, b"xx")
    assert half.repeats(2, b"xx")
    half.deliver(b"gh", 6, 2 * size - 1)
    assert not half.repeats(4, b"xx")
    assert half.repeats(6, b"xx")


def test_time_does_not_go_back():
    """Bytes that came early are passed on with what was missing."""
    half = receiver()
    half.grace = (1, 2)
    half.deliver(b"a", 7, 0)
    half.deliver(b"b", 5, 0)
    assert (half.time_ns, half.next, half.grace) == (7, 2, None)


def test_segments_that_do_not_fit_are_kept_in_groups():
    """By where they are; the oldest group is given up if there are too many."""
    half = receiver()
    far = [(number + 1) * 3 * MAX_WINDOW for number in range(MAX_DETACHED + 1)]
    for number, sequence in enumerate(far[:-1]):
        assert half.detach(segment(sequence), number, number) is None
        assert half.detach(segment(sequence + 1), number, number) is None
    assert len(half.detached) == MAX_DETACHED
    assert half.cost == 2 * MAX_DETACHED * (1 + SEGMENT_COST)
    oldest = half.detach(segment(far[-1]), 9, 9)
    assert oldest is half.detached[0]
    assert half.group_of(far[1]) is half.detached[1]
    assert half.group_of(100) is None
    half.remove(oldest)
    assert len(half.detached) == MAX_DETACHED
    assert half.cost == (2 * MAX_DETACHED - 1) * (1 + SEGMENT_COST)


@STARTS
def test_a_stream_may_continue_at_a_group(first):
    """What comes before it is missing; what was known of windows is not true any more."""
    half = receiver(first, b"abc")
    half.acknowledge((first + 2) % WRAP, 100)
    half.grace, half.pending_reset = (1, 1), PendingReset(9, 9)
    start = (first + 3 + 50_000_000) % WRAP
    half.detach(segment(start), 1, 1)
    assert half.jump_to(half.detached[0]) == 50_000_000
    assert half.offset_of(start) == half.next == 3
    assert (half.acknowledged, half.edge, half.grace, half.pending_reset) == (3, None, None, None)
    assert not half.repeats(0, b"xyz")
    half.deliver(b"new", 6, 3 + SEGMENT_COST)
    assert half.repeats(3, b"xyz")


def test_a_scale_that_is_not_there_is_not_one_of_zero():
    """Windows are scaled only with the option in both SYNs."""
    assert NO_SCALE not in range(15)
