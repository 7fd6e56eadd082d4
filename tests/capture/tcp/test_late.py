"""Segments that come late, early or never: which connection they are of, and what they prove."""

import pytest

from lbcproxy.capture.packet import ACK, FIN, RST, SYN
from lbcproxy.capture.tcp.stream_events import Opened
from tests.capture.tcp_conversation import (
    END,
    MS,
    OPEN,
    SECOND,
    TALK,
    TALK_SUMMARY,
    down,
    summarize,
    talk_summary,
    up,
)
from tests.capture.tcp_read import read

ALL = (*OPEN, *TALK, *END)
SYN_ACK = SYN | ACK
"""What a server answers."""


def test_a_late_syn_and_late_bytes_are_not_told_again():
    """Both may be under way for longer than the connection lives."""
    assert summarize(*ALL, OPEN[0], TALK[0])[0] == TALK_SUMMARY


def test_the_same_number_again_is_another_connection_if_the_server_accepts_it():
    """A host may begin where it began before."""
    answer = (down(9_000, flags=SYN_ACK, ack=100), up(100, b"new", ack=9_001))
    assert summarize(*ALL, OPEN[0], *answer)[0] == [*TALK_SUMMARY, (2, "up", b"new")]


def test_a_syn_that_is_refused_again_is_told_again():
    """Windows tries three times."""
    refused = (OPEN[0], down(0, flags=RST | ACK, ack=100))
    assert summarize(*refused, *refused)[0] == [(1, "down", "RST"), (2, "down", "RST")]


def test_late_bytes_of_a_new_answer_to_an_old_syn_are_not_taken():
    """They acknowledge what the server has not sent; it resets them (RFC 9293, 3.10.7.4)."""
    answer = down(900_000_000, flags=SYN_ACK, ack=100)
    for late in (up(105, b"56789", ack=500), up(100, b"01234", ack=500)):
        assert summarize(*ALL, OPEN[0], answer, late)[0] == TALK_SUMMARY


def test_bytes_after_a_reset_are_recognised_also_when_they_come_after_the_next_connection():
    """They were never taken, so that they repeat nothing."""
    late = up(100, b"0123456789", ack=500)
    found, dropped = summarize(*OPEN, down(500, flags=RST), late, *SECOND, late)
    assert found == [(1, "down", "RST"), *talk_summary(2)]
    assert dropped == {"after-end": 1, "older-connection": 1}


def test_bytes_before_the_beginning_of_a_capture_are_recognised_after_the_next_connection():
    """Their connection was seen from its middle only."""
    found, dropped = summarize(*TALK, *END, *SECOND, up(90, b"0123456789", ack=500))
    assert found == [*TALK_SUMMARY, *talk_summary(2)]
    assert dropped == {"older-connection": 1}


def test_bytes_that_were_under_way_when_the_server_reset_open_nothing():
    """The client had said nothing since the capture began, but the server had acknowledged it."""
    found, _ = summarize(
        down(500, b"ab", ack=100), up(100, ack=502), down(502, flags=RST), up(100, b"x")
    )
    assert found == [(1, "down", b"ab"), (1, "down", "RST")]


def test_a_reset_with_a_made_up_number_ends_nothing_also_in_the_middle():
    """The client has acknowledged what the server sends; its own number is known by that."""
    stray = down(0, flags=RST | ACK, ack=102)
    found, dropped = summarize(
        up(100, b"ab", ack=500), down(500, ack=102), stray, up(102, b"cd", ack=500)
    )
    assert found == [(1, "up", b"ab"), (1, "up", b"cd")]
    assert dropped == {"ignored-reset": 1}


def test_the_acknowledgment_of_a_segment_that_is_not_taken_proves_no_loss():
    """A receiver drops what it has, with all that stands in it (RFC 9293, 3.10.7.4)."""
    stray = down(505, b"fghij", ack=115)
    ahead, missing = up(110, b"after", ack=510), up(100, b"0123456789", ack=510)
    found, _ = summarize(
        *OPEN, down(500, b"abcdefghij", ack=100), ahead, stray, missing, apart=700 * MS
    )
    assert found == [
        (1, "down", b"abcdefghij"),
        (1, "up", b"0123456789"),
        (1, "up", b"after"),
    ]


def test_strays_near_each_other_are_not_the_stream_while_the_old_numbers_are_acknowledged():
    """A receiver of theirs would acknowledge them."""
    strays = [
        each
        for at in (50_000_000, 50_100_000, 50_200_000)
        for each in (down(at, b"stray", ack=100), up(100, ack=500))
    ]
    found, dropped = summarize(*OPEN, *strays, *TALK, *END, apart=700 * MS)
    assert found == TALK_SUMMARY
    assert dropped == {"outside-window": 3}


def test_strays_on_both_sides_of_the_stream_are_not_acknowledged_by_what_is_between():
    """They are near enough to be one group."""
    above = (down(2_000_000, b"stray", ack=100), up(100, ack=500))
    below = (down(500 - 2_000_000, flags=FIN | ACK, ack=100), up(100, ack=500))
    found, _ = summarize(*OPEN, *above, *below, *TALK, up(110, ack=510), *END, apart=700 * MS)
    assert found == TALK_SUMMARY


def test_a_late_syn_does_not_end_the_attempt_that_is_answered():
    """SYNs overtake each other; the answer tells which one goes on."""
    answer = (down(499, flags=SYN_ACK, ack=200_001), up(200_001, b"hi", ack=500))
    found, _ = summarize(up(200_000, flags=SYN), up(99, flags=SYN), *answer)
    assert found == [(1, "up", b"hi")]


def test_the_later_of_two_attempts_may_be_the_one_that_is_answered():
    """Its numbers may be near those of the first: a client sends nothing before an answer."""
    for number in (65_637, 200_000):
        answer = (down(499, flags=SYN_ACK, ack=number + 1), up(number + 1, b"hi", ack=500))
        found, _ = summarize(up(99, flags=SYN), up(number, flags=SYN), *answer)
        assert found[1:] == [(2, "up", b"hi")], number


def test_a_refusal_is_of_the_attempt_that_it_acknowledges():
    """The first attempt was lost on its way."""
    refusal = down(0, flags=RST | ACK, ack=65_638)
    found, _ = summarize(up(99, flags=SYN), up(65_637, flags=SYN), refusal)
    assert found[-1] == (2, "down", "RST")


def test_each_attempt_is_told_if_nobody_answers():
    """On a port that is used for each of them."""
    syns = [(at * MS, up(number, flags=SYN)) for at, number in enumerate((99, 70_000, 900_000))]
    events, dropped = read(syns)
    assert len([each for each in events if isinstance(each, Opened)]) == 3
    assert not dropped


def test_a_repeated_attempt_is_answered_after_an_old_answer_was_refused():
    """The SYN is known, as one that was given up for the old answer."""
    numbers = (up(99, flags=SYN), up(300_000, flags=SYN), down(9_000, flags=SYN_ACK, ack=100))
    rest = (down(499, flags=SYN_ACK, ack=300_001), down(500, b"hi", ack=300_001))
    found, _ = summarize(*numbers, up(100, flags=RST), up(300_000, flags=SYN), *rest)
    assert found[-1][1:] == ("down", b"hi")


def test_a_reset_that_came_before_its_bytes_is_not_obeyed_if_the_end_comes_after_it():
    """Its receiver awaited the bytes and challenged it (RFC 5961, 3.2)."""
    early = (down(510, flags=RST), *TALK, up(110, ack=510), *END)
    assert summarize(*OPEN, *early)[0] == TALK_SUMMARY


def test_a_reset_sent_again_after_its_bytes_is_obeyed():
    """So a receiver's challenge is answered."""
    found, _ = summarize(*OPEN, down(510, flags=RST), *TALK, down(510, flags=RST), up(100, ack=510))
    assert found == [*TALK_SUMMARY[:2], (1, "down", "RST")]


def test_a_reset_at_bytes_that_passed_and_did_not_arrive_is_obeyed():
    """The receiver awaits them; its acknowledgment was not captured."""
    found, _ = summarize(*OPEN, up(100, b"01234"), up(105, b"56789"), up(105, flags=RST))
    assert found == [(1, "up", b"01234"), (1, "up", b"56789"), (1, "up", "RST")]


@pytest.mark.parametrize(
    "stray",
    [
        pytest.param(down(900_000_000, b"stray", ack=6_000), id="bytes"),
        pytest.param(up(68_593, flags=RST), id="reset"),
    ],
)
def test_a_stray_does_not_confirm_a_stray_syn(stray):
    """Nothing is acknowledged that was not sent, and a reset confirms nothing."""
    assert summarize(*OPEN, up(5_000, flags=SYN), stray, *TALK, *END)[0] == TALK_SUMMARY


def test_bytes_under_way_do_not_confirm_a_stray_syn():
    """A reset that both sides obey has ended the connection in the meantime."""
    found, _ = summarize(*OPEN, up(3_000, flags=SYN), up(100, flags=RST), up(3_100, b"late"))
    assert found == [(1, "up", "RST")]


def test_old_bytes_are_not_of_the_attempt_that_follows():
    """The old server has acknowledged them before the new one answers."""
    late = (up(100, b"0123456789", ack=500), down(500, ack=110))
    found, _ = summarize(*OPEN, down(500, flags=RST), SECOND[0], *late, *SECOND[1:], apart=400 * MS)
    assert found == [(1, "down", "RST"), *talk_summary(2)]


def test_the_window_of_a_syn_that_waited_counts():
    """A stray far ahead is not the server's before the client has told its window again."""
    stray = down(70_500 + 1_000_000, b"yz", flags=FIN | ACK, ack=70_100)
    found, _ = summarize(*OPEN, *SECOND[:2], stray, *SECOND[2:])
    assert found == [(1, "up", "RST"), *talk_summary(2)]


def test_bytes_captured_before_the_reset_and_the_syn_are_of_the_next_connection():
    """Network cards with several queues give them so."""
    early, *rest = SECOND[3:]
    order = (down(500, flags=RST), early, *SECOND[:3], *rest)
    assert summarize(*OPEN, *TALK[:1], *order, apart=2 * MS)[0] == [
        TALK_SUMMARY[0],
        (1, "down", "RST"),
        *talk_summary(2),
    ]


def test_bytes_in_the_window_before_their_syn_are_of_the_next_connection():
    """What they acknowledge is not what the old server has sent."""
    syn, answer = up(60_000, flags=SYN), down(900_000, flags=SYN_ACK, ack=60_001)
    order = (up(60_001, b"new", ack=900_001), up(100, flags=RST), syn, answer)
    found, _ = summarize(*OPEN, *order, down(900_001, b"hi", ack=60_004), apart=2 * MS)
    assert found == [(1, "up", "RST"), (2, "up", b"new"), (2, "down", b"hi")]


def test_only_one_syn_is_brought_forward():
    """The next connection's number may be near by chance."""
    order = (up(400_000, flags=RST), *SECOND[:2], *SECOND[2:])
    third = (up(140_099, flags=SYN), down(140_499, flags=SYN_ACK, ack=140_100))
    found, _ = summarize(OPEN[0], *order, *third, up(140_100, b"new", ack=140_500), apart=10 * MS)
    assert found[-5:] == [*talk_summary(2), (3, "up", b"new")]


def test_a_stray_before_the_answer_is_not_the_beginning():
    """The answer to the SYN is, wherever it was captured."""
    stray = down(900_000_000, b"stray", ack=100)
    for order in ((OPEN[0], stray, *OPEN[1:]), (stray, *OPEN), (stray, OPEN[1], OPEN[0], OPEN[2])):
        assert summarize(*order, *TALK, *END, apart=2 * MS)[0] == TALK_SUMMARY


def test_a_stray_reset_brings_no_syn_before_what_is_known():
    """The connection goes on in the meantime."""
    order = (up(60_000 + 200_000, flags=RST), down(500, b"abcdefghij", ack=100))
    syn = (up(70_099, flags=SYN), down(9_000, flags=SYN_ACK, ack=70_100))
    found, _ = summarize(*OPEN, *order, *syn, up(70_100, b"new", ack=9_001), apart=2 * MS)
    assert found[0] == (1, "down", b"abcdefghij")
    assert found[-1] == (2, "up", b"new")


def test_a_stray_answer_does_not_take_the_place_of_a_syn_that_waits():
    """It answers another SYN. The number of the one that waits is in the old window."""
    stray = (down(9_000, flags=SYN_ACK, ack=900_000_000), up(900_000_000, flags=RST))
    answer = (down(900_000, flags=SYN_ACK, ack=60_001), up(60_001, b"new", ack=900_001))
    found, _ = summarize(*OPEN, *TALK, up(60_000, flags=SYN), *stray, *answer)
    assert found == [*TALK_SUMMARY[:2], (1, "up", "RST"), (2, "up", b"new")]


def test_segments_far_ahead_are_dropped_when_an_end_before_them_is_reached():
    """The end waited for bytes that are given up, to go on where they are."""
    far = (down(50_000_000, b"far", ack=100), down(50_000_010, b"ahead", ack=100))
    found, dropped = summarize(
        *OPEN, down(505, flags=FIN | ACK, ack=100), *far, up(100, b"x"), apart=1_100 * MS
    )
    assert found == [(1, "down", 5), (1, "down", "FIN"), (1, "up", b"x")]
    assert dropped == {"outside-window": 2}
