"""Segments that fit nowhere, as a group: where it begins and ends, and who goes on there."""

import pytest

from lbcproxy.capture.packet import ACK, Segment
from lbcproxy.capture.tcp.detached import MAX_WINDOW, SEGMENT_COST, WRAP, Detached, PendingReset
from lbcproxy.endpoint import Endpoint

CLIENT, SERVER = Endpoint("10.0.0.1", 5000), Endpoint("10.0.0.2", 9246)


def segment(sequence, data=b""):
    """Return a segment of the client."""
    return Segment(CLIENT, SERVER, sequence % WRAP, 1, ACK, data)


def group_of(*segments):
    """Return a group of segments, each of which comes a nanosecond after the last."""
    group = Detached(segments[0].sequence, 10, 1)
    for time_ns, each in enumerate(segments, 1):
        group.add(each, 10, time_ns)
    return group


def test_a_new_group_is_empty():
    """It is as old as its first segment, and nobody goes on there yet."""
    group = Detached(100, 10, 1)
    assert (group.since, group.low, group.size, group.cost) == ((10, 1), 100, 0, 0)
    assert (group.segments, group.is_acknowledged, group.stays) == ([], False, False)
    assert group.is_stale
    group.sender_is_at(100, 11, 50)
    assert not group.stays


@pytest.mark.parametrize("start", [100, WRAP - 4])
def test_a_group_spans_its_segments(start):
    """In whatever order they come, also where sequence numbers wrap around."""
    first, second, third = (segment(start + at, b"x" * 4) for at in (0, 4, 20))
    for order in ((first, second, third), (third, first, second), (second, third, first)):
        group = group_of(*order)
        assert (group.low, group.size) == (start % WRAP, 24)
        assert group.cost == 3 * (4 + SEGMENT_COST)
        assert group.first is first
        assert [time_ns for _, time_ns in group.segments] == [1, 2, 3]
        assert group.time_ns == 1


def test_a_segment_costs_its_bytes_and_more():
    """Many tiny ones have to be bounded too."""
    group = Detached(100, 10, 1)
    assert group.add(segment(100, b"abc"), 10, 1) == 3 + SEGMENT_COST
    assert group.add(segment(100), 10, 1) == SEGMENT_COST
    assert (group.cost, group.size) == (3 + 2 * SEGMENT_COST, 3)


@pytest.mark.parametrize("start", [100, WRAP - 1])
def test_numbers_near_a_group(start):
    """Within a window of its start, on both sides."""
    group = group_of(segment(start, b"x"))
    for ahead, near in (
        (-MAX_WINDOW - 1, False),
        (-MAX_WINDOW, True),
        (0, True),
        (MAX_WINDOW, True),
        (MAX_WINDOW + 1, False),
    ):
        assert group.is_near((start + ahead) % WRAP) is near


@pytest.mark.parametrize("start", [100, WRAP - 3])
def test_what_an_acknowledgment_covers(start):
    """Any byte of the group, but not its start alone."""
    group = group_of(segment(start, b"x" * 5))
    found = [group.has((start + ahead) % WRAP) for ahead in (-1, 0, 1, 5, 6)]
    assert found == [False, False, True, True, False]
    found = [group.ends_at((start + ahead) % WRAP) for ahead in (4, 5, 6, 7)]
    assert found == [False, True, True, False]


def test_the_sender_stays_where_several_segments_are():
    """A repetition shows nothing; an empty segment at the end does."""
    group = group_of(segment(100, b"abc"))
    assert (group.stays, group.is_stale) == (False, False)
    group.add(segment(100, b"abc"), 10, 2)
    assert not group.stays
    group.add(segment(103, b"d"), 10, 3)
    assert group.stays
    group = group_of(segment(100, b"abc"))
    for sequence, stays in ((102, False), (104, False), (103, True)):
        group.sender_is_at(sequence, 11, 50)
        assert group.stays is stays
    group = group_of(segment(WRAP - 1, b"abc"))
    group.sender_is_at(2, 11, 50)
    assert group.stays


def test_the_stream_may_go_on_elsewhere():
    """Until something comes here again."""
    group = group_of(segment(100, b"abc"), segment(103, b"d"))
    group.went_elsewhere(20, 30)
    assert (group.since, group.stays, group.is_stale) == ((20, 30), False, True)
    group.sender_is_at(104, 21, 50)
    assert (group.since, group.stays, group.is_stale) == ((21, 50), True, False)
    group.sender_is_at(104, 22, 60)
    assert group.since == (21, 50)
    group.went_elsewhere(23, 61)
    group.add(segment(100, b"abc"), 10, 40)
    assert (group.stays, group.is_stale) == (False, False)


def test_a_reset_that_waits():
    """Nothing contradicts it at first."""
    reset = PendingReset(5, 7)
    assert (reset.offset, reset.time_ns) == (5, 7)
    assert (reset.is_early, reset.is_contradicted) == (False, False)
    assert PendingReset(5, 7, is_early=True).is_early
