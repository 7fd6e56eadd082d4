"""Segments captured out of order around the start or end of a connection, and strays among them."""

from lbcproxy.capture.packet import ACK, FIN, RST, SYN
from lbcproxy.capture.tcp.detached import Detached
from lbcproxy.capture.tcp.stream_events import Opened
from tests.capture.tcp_conversation import (
    END,
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

SYN_ACK = SYN | ACK
ALL = (*OPEN, *TALK, *END)
DATA = TALK_SUMMARY[:2]
SECOND_DATA = talk_summary(2)[:2]


def test_a_stray_reset_does_not_bring_the_next_syn_forward_past_the_end():
    """Its number is near those of the next connection, but this one still has to end."""
    found, dropped = summarize(*OPEN, *TALK, up(200_000, flags=RST), *END, *SECOND)
    assert found == [*TALK_SUMMARY, *talk_summary(2)]
    assert dropped == {"ignored-reset": 1}


def test_data_of_the_next_connection_may_come_before_the_end_of_this_one():
    """A capture of several queues has them out of order."""
    early = SECOND[3]
    found, _ = summarize(*OPEN, *TALK, END[1], early, END[0], *SECOND[:3], *SECOND[4:])
    assert [each for each in found if each[0] == 2] == talk_summary(2)


def test_a_late_segment_of_another_connection_is_not_the_beginning():
    """It acknowledges what the server is far from."""
    late = up(3_000, b"old", ack=3_000_000_000)
    found, _ = summarize(
        up(70_200, b"0123456789", ack=500), down(500, ack=70_210), late, up(70_210, b"x", ack=500)
    )
    assert found == [(1, "up", b"0123456789"), (1, "up", b"x")]


def test_data_before_its_syn_is_not_of_an_attempt_that_was_not_answered():
    """A client cannot send data before it has an answer."""
    later, first = up(70_105, b"56789", ack=70_500), up(70_100, b"01234", ack=70_500)
    found, _ = summarize(OPEN[0], later, SECOND[1], SECOND[0], first)
    assert found == [(1, "up", "RST"), (2, "up", b"01234"), (2, "up", b"56789")]


def test_stray_syns_before_the_clients_first_bytes_do_not_end_a_connection():
    """The server has accepted it, even if the client's acknowledgment was not captured."""
    challenge = down(500, ack=100)
    strays = (up(5_099, flags=SYN), challenge, up(3_000_000_000, flags=SYN), challenge)
    found, dropped = summarize(*OPEN[:2], *strays, *TALK, *END)
    assert found == TALK_SUMMARY
    assert dropped == {"ignored-syn": 2}


def test_a_reset_captured_before_its_fin_ends_the_connection():
    """Nothing is between the two, so the number of a later stray reset does not matter."""
    reset, fin = down(501, flags=RST | ACK, ack=100), down(500, flags=FIN | ACK, ack=100)
    found, _ = summarize(*OPEN, reset, fin, up(60_000, flags=RST))
    assert found == [(1, "down", "FIN"), (1, "down", "RST")]


def test_a_stray_reset_does_not_bring_data_forward_past_its_syn_ack():
    """The data is of the connection that the SYN-ACK starts."""
    found, _ = summarize(*OPEN, *TALK, SECOND[0], up(15_000_000, flags=RST), *SECOND[1:5])
    assert found == [*DATA, (1, "up", "RST"), *SECOND_DATA]


def test_bytes_far_from_where_their_sender_is_do_not_start_its_stream():
    """The capture starts in the middle, and the server has only acknowledged so far."""
    late = down(2_000_000_000, b"old", ack=30_000)
    found, dropped = summarize(
        up(100_000, b"0123456789", ack=500), down(500, ack=100_010), late, up(100_010, b"x")
    )
    assert found == [(1, "up", b"0123456789"), (1, "up", b"x")]
    assert dropped == {"outside-window": 1}


def test_the_stream_starts_elsewhere_if_it_stays_there():
    """What was seen of the sender before was a stray, and no byte is missing."""
    parts = [down(2_000_000_000 + at, b"x", ack=100_010) for at in range(3)]
    found, _ = summarize(
        up(100_000, b"0123456789", ack=500),
        down(500, ack=100_010),
        *parts,
        up(100_010, ack=2_000_000_003),
        up(100_010, ack=2_000_000_003),
        apart=700_000_000,
    )
    assert found == [(1, "up", b"0123456789"), *[(1, "down", b"x")] * 3]


def test_a_late_syn_that_is_answered_anew_does_not_start_what_came_before_it():
    """The answer has another number than the server had."""
    end = (up(100, flags=FIN | ACK, ack=500), down(500, flags=FIN | ACK, ack=101))
    answer = down(132_000_000, flags=SYN_ACK, ack=100)
    assert summarize(*end, up(101, ack=501), OPEN[0], answer)[0] == []


def test_a_syn_ack_belongs_to_data_only_if_the_numbers_of_both_sides_match():
    """The SYN was repeated long ago, and this is the answer to that."""
    late = down(4_000_000_000, flags=SYN_ACK, ack=100)
    fin = up(100, flags=FIN | ACK, ack=500)
    found, _ = summarize(fin, down(500, b"abcdefghij", ack=101), late)
    assert found == [(1, "down", b"abcdefghij")]


def test_a_late_syn_of_the_connection_before_is_not_the_start_of_this_one():
    """Linux starts 65,537 above the old number, and no byte in between was captured."""
    data = [up(70_200 + 10 * at, b"0123456789", ack=500) for at in range(3)]
    found, _ = summarize(data[0], up(99, flags=SYN), *data[1:])
    assert found == [(1, "up", b"0123456789")] * 3


def test_the_first_segment_after_another_gives_the_receiver_time_to_deny_both():
    """Two strays far apart in time may have numbers near each other."""
    group = Detached(1_000, 1, 1)
    group.add(up(1_000, b"x"), 1, 1)
    group.went_elsewhere(5, 5)
    group.add(up(2_000, b"x"), 900, 9_000_000_000)
    assert group.stays
    assert group.since == (900, 9_000_000_000)


def test_a_refusal_captured_before_the_syn_ack_was_forged():
    """A firewall answered as well, but the server accepted."""
    forged = down(0, flags=RST | ACK, ack=100)
    found, _ = summarize(OPEN[0], forged, *OPEN[1:], *TALK)
    assert found == [(1, "down", "RST"), *SECOND_DATA]


def test_an_attempt_that_is_answered_after_a_later_one_is_a_connection():
    """Its SYN was captured before that of the attempt which was given up."""
    given_up = (SECOND[0], SECOND[1], up(70_100, flags=RST))
    found, _ = summarize(OPEN[0], *given_up, *OPEN[1:], *TALK)
    assert found == [(1, "up", "RST"), (2, "up", "RST"), *[(3, *each[1:]) for each in DATA]]


def test_of_two_answered_attempts_the_next_segments_show_which_is_the_later():
    """Both SYNs and both answers were captured in the wrong order."""
    found, _ = summarize(SECOND[0], OPEN[0], SECOND[1], OPEN[1], *SECOND[2:5])
    assert found == talk_summary(1)[:2]
    found, _ = summarize(SECOND[0], OPEN[0], SECOND[1], OPEN[1], OPEN[2], *TALK)
    assert found == [(1, "up", "RST"), *SECOND_DATA]


def test_an_attempt_after_a_stray_syn_ack_is_told():
    """The client resets the stray, and its own SYN is not answered."""
    stray = down(5_500, flags=SYN_ACK, ack=3_000_000_001)
    found, _ = summarize(stray, OPEN[0], up(3_000_000_001, flags=RST))
    assert found == [(1, "up", "RST")]
    events, _ = read(enumerate([stray, OPEN[0], up(3_000_000_001, flags=RST)]))
    assert [each.connection for each in events if isinstance(each, Opened)] == [1, 2]


def test_an_attempt_that_is_answered_and_reset_is_told():
    """The bytes of the connection before were not captured, and its reset may be a stray."""
    reset = up(110, flags=RST | ACK, ack=500)
    found, _ = summarize(*OPEN[:2], reset, *SECOND[:2], up(70_100, flags=RST))
    assert found == [(1, "up", 10), (1, "up", "RST"), (2, "up", "RST")]


def test_a_stray_syn_ack_that_is_repeated_starts_nothing():
    """Only the other side can accept it."""
    stray = down(5_500, flags=SYN_ACK, ack=110)
    assert summarize(*OPEN, *TALK, stray, stray, *END)[0] == TALK_SUMMARY


def test_a_reset_that_answers_an_older_segment_does_not_replace_the_one_at_the_end():
    """The first was captured before the bytes that precede it."""
    resets = (down(510, flags=RST), down(500, b"abcdefghij", ack=100), down(500, flags=RST))
    found, _ = summarize(*OPEN, *resets, up(100, ack=510))
    assert found == [(1, "down", b"abcdefghij"), (1, "down", "RST")]


def test_a_reset_captured_before_the_syns_is_obeyed():
    """It has no acknowledgment, but it follows the SYN-ACK."""
    assert summarize(down(500, flags=RST), *OPEN)[0] == [(1, "down", "RST")]


def test_late_bytes_that_the_server_had_acknowledged_start_nothing_after_its_reset():
    """The client had sent nothing new since the capture started."""
    found, dropped = summarize(
        down(500, b"ab", ack=100), up(100, ack=502), down(502, flags=RST), up(90, b"0123456789")
    )
    assert found == [(1, "down", b"ab"), (1, "down", "RST")]
    assert dropped == {"older-connection": 1}


def test_of_two_answers_to_a_syn_the_first_counts():
    """A host restarts and comes back from the same port; stray SYN-ACKs come in between."""
    syn, answer, *rest = SECOND
    stray = down(2_000_000_000, flags=SYN_ACK, ack=3_000_000_001)
    other = down(2_500_000_000, flags=SYN_ACK, ack=answer.acknowledgment)
    restart = (syn, down(510, ack=110), up(110, flags=RST))
    found, dropped = summarize(*OPEN, *TALK, *restart, stray, syn, answer, other, *rest)
    assert [each for each in found if each[0] > 1 and each[2] != "RST"][-4:] == [
        (found[-1][0], side, what) for _, side, what in talk_summary(2)
    ]
    assert dropped == {"ignored-syn": 1}
