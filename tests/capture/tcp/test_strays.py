"""Strays between the segments of a connection: what a receiver would not take ends nothing."""

from lbcproxy.capture.packet import ACK, RST, SYN
from tests.capture.tcp_conversation import (
    END,
    MS,
    OPEN,
    SECOND,
    TALK,
    TALK_SUMMARY,
    THIRD,
    down,
    summarize,
    talk_summary,
    up,
)


def test_nothing_is_left_out_where_there_is_no_stray():
    """What the other tests are compared with."""
    assert summarize(*OPEN, *TALK, *END) == (TALK_SUMMARY, {})


def test_a_reset_in_the_window_that_is_not_obeyed_leaves_no_gap():
    """RFC 5961, 3.2: its receiver challenges it, and what follows is at the old numbers."""
    for stray in (up(5_000, flags=RST), down(5_000, flags=RST)):
        found, dropped = summarize(*OPEN, stray, *TALK, *END)
        assert found == TALK_SUMMARY
        assert dropped == {"ignored-reset": 1}


def test_a_reset_in_the_window_is_not_believed_at_the_end_if_something_followed():
    """The capture ends, and the connection goes on."""
    found, dropped = summarize(*OPEN, down(5_000, flags=RST), *TALK)
    assert found == TALK_SUMMARY[:2]
    assert dropped == {"ignored-reset": 1}


def test_a_true_reset_after_one_in_the_window_ends_the_connection():
    """The second is at the byte awaited."""
    found, _ = summarize(*OPEN, up(5_000, flags=RST), *TALK, up(110, flags=RST))
    assert found == [*TALK_SUMMARY[:2], (1, "up", "RST")]


def test_a_reset_and_bytes_far_ahead_do_not_wait_for_each_other():
    """Both are near each other, and only one is in the window."""
    strays = (down(2_000_000, b"stray"), down(5_000, flags=RST))
    assert summarize(*OPEN, *strays, *TALK, *END)[0] == TALK_SUMMARY


def test_a_syn_ack_that_does_not_acknowledge_the_syn_ends_nothing():
    """The client refuses it (RFC 9293, 3.10.7.3), and its own attempt goes on."""
    stray = (down(7_777, flags=SYN | ACK, ack=900_000_000), up(900_000_000, flags=RST))
    found, dropped = summarize(OPEN[0], *stray, *OPEN[1:], *TALK, *END)
    assert found == TALK_SUMMARY
    assert dropped == {"ignored-syn": 1, "ignored-reset": 1}


def test_a_second_answer_to_a_syn_is_not_the_beginning_of_another_connection():
    """The server's number is known; a reset far away confirms nothing."""
    strays = (down(800_000_000, flags=SYN | ACK, ack=100), down(0, flags=RST | ACK, ack=100))
    assert summarize(*OPEN, *strays, *TALK, *END)[0] == TALK_SUMMARY


def test_a_refusal_recorded_before_its_syn_is_told_also_on_ports_used_again():
    """Network cards with several queues do so; the connection before is over."""
    again = (down(0, flags=RST | ACK, ack=200_001), up(200_000, flags=SYN))
    found, _ = summarize(*OPEN, *TALK, *END, *again, apart=2 * MS)
    assert found == [*TALK_SUMMARY, (2, "down", "RST")]


def test_a_pending_syn_is_the_next_connection_once_the_one_before_is_over():
    """A stray answer was taken for the beginning; the true attempt is refused."""
    found, _ = summarize(
        down(7_777, flags=SYN | ACK, ack=900_000_000),
        up(99, flags=SYN),
        up(900_000_000, flags=RST),
        down(0, flags=RST | ACK, ack=100),
    )
    assert found == [(1, "up", "RST"), (2, "down", "RST")]


def test_a_late_syn_of_an_earlier_connection_ends_nothing():
    """It is challenged; the client does not take that for a new connection."""
    late = (up(99, flags=SYN), down(70_500, ack=70_100))
    found, dropped = summarize(*OPEN, *TALK, *END, *SECOND[:3], *late, *SECOND[3:])
    assert found == [*TALK_SUMMARY, *talk_summary(2)]
    assert dropped == {"ignored-syn": 1}


def test_late_bytes_are_recognised_after_two_more_connections():
    """They neither open one nor make the stream jump, in whatever state the last one is."""
    for place in (1, 3, 5, len(THIRD)):
        late = (TALK[0], TALK[1], TALK[0])
        found, _ = summarize(*OPEN, *TALK, *END, *SECOND, *THIRD[:place], *late, *THIRD[place:])
        assert found == [*TALK_SUMMARY, *talk_summary(2), *talk_summary(3)], place


def test_a_stray_reset_does_not_bring_a_later_syn_forward():
    """Only an RST that acknowledges answers a SYN; what it is of is not known."""
    strays = (down(1_000_000_000, flags=RST), up(1_500_000_000, flags=SYN))
    found, _ = summarize(OPEN[0], strays[0], *OPEN[1:], strays[1], *TALK, *END)
    assert found == TALK_SUMMARY
