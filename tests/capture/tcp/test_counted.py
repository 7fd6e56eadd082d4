"""No byte is dropped without being counted, and none is counted that was delivered."""

from lbcproxy.capture.packet import ACK, FIN
from tests.capture.tcp_conversation import OPEN, down, up
from tests.capture.tcp_read import reassembled

MS = 1_000_000


def counted(*segments, apart=20 * MS):
    """How many bytes are dropped, by reason."""
    _, dropped = reassembled((at * apart, each) for at, each in enumerate(segments))
    return {each["reason"]: each["bytes"] for each in dropped.to_list() if each["bytes"]}


def test_bytes_that_come_after_they_were_given_up_are_counted():
    """The server has acknowledged them, so the gap is told and reading goes on."""
    late, after = up(100, b"01234", ack=500), up(105, b"56789", ack=500)
    acks = [down(500, ack=110)] * 3
    found = counted(*OPEN, after, *acks, late, up(110, b"x", ack=500), apart=700 * MS)
    assert found == {"outside-window": 5}


def test_bytes_of_a_gap_that_come_after_the_end_are_counted():
    """They repeat nothing, although the stream has gone past them."""
    after, fin = up(105, b"56789", ack=500), up(110, flags=FIN | ACK, ack=500)
    acks = [down(500, ack=111)] * 3
    end = (down(500, flags=FIN | ACK, ack=111), up(111, ack=501))
    late = up(100, b"01234567", ack=500)
    assert counted(*OPEN, after, fin, *acks, *end, late, apart=700 * MS) == {"after-end": 5}


def test_only_the_bytes_after_a_fin_are_counted():
    """The rest of the segment is delivered."""
    fin = up(105, flags=FIN | ACK, ack=500)
    assert counted(*OPEN, fin, up(100, b"0123456789", ack=500)) == {"after-end": 5}


def test_bytes_that_wait_beyond_a_fin_are_counted():
    """They came before the FIN showed where the stream ends."""
    beyond, fin = up(107, b"789", ack=500), up(105, flags=FIN | ACK, ack=500)
    assert counted(*OPEN, beyond, fin, up(100, b"01234", ack=500)) == {"after-end": 3}


def test_only_the_bytes_that_are_repeated_with_other_values_are_counted():
    """What is new in the segment is delivered."""
    first, second = up(100, b"01234", ack=500), up(100, b"abcde56789", ack=500)
    assert counted(*OPEN, first, second) == {"conflict": 5}
