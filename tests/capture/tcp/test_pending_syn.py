"""A SYN on ports that are in use: what answers it, refuses it, or goes on after it."""

import pytest

from lbcproxy.capture.packet import ACK, PSH, RST, SYN, Segment
from lbcproxy.capture.tcp.pending_syn import FIRST_WINDOW, PendingSyn, scale_of
from lbcproxy.capture.tcp.receiver import NO_SCALE
from lbcproxy.endpoint import Endpoint

CLIENT, SERVER = Endpoint("10.0.0.1", 5000), Endpoint("10.0.0.2", 9246)
WRAP = 1 << 32
STARTS = pytest.mark.parametrize("syn", [100, WRAP - 1])


def up(sequence, flags=ACK, ack=0):
    """Return a segment of the client."""
    return Segment(CLIENT, SERVER, sequence % WRAP, ack % WRAP, flags, b"")


def down(sequence, flags=ACK, ack=0):
    """Return a segment of the server."""
    return Segment(SERVER, CLIENT, sequence % WRAP, ack % WRAP, flags, b"")


@STARTS
def test_the_server_answers_a_syn_by_its_number(syn):
    """Or refuses it, with a reset."""
    pending = PendingSyn(CLIENT, SERVER, syn, 5)
    for ack, flags, answered, refused in (
        (syn + 1, ACK, True, False),
        (syn + 1, SYN | ACK, True, False),
        (syn + 1, RST | ACK, True, True),
        (syn + 1, RST, False, False),
        (syn + 1, SYN, False, False),
        (syn, ACK, False, False),
        (syn, RST | ACK, False, False),
        (syn + 2, ACK, False, False),
    ):
        segment = down(900, flags, ack)
        assert pending.is_answered_by(segment) is answered
        assert pending.is_refused_by(segment) is refused


def test_the_client_resets_a_syn_that_it_has_not_sent():
    """The server's reset is something else."""
    pending = PendingSyn(CLIENT, SERVER, 100, 5)
    assert pending.refuses(up(101, RST))
    assert not pending.refuses(up(101))
    assert not pending.refuses(down(101, RST))


@STARTS
def test_what_comes_after_a_syn_is_shortly_after_it(syn):
    """Until the server answers it, only the client's number is known."""
    pending = PendingSyn(CLIENT, SERVER, syn, 5)
    for ahead, accepted in ((0, False), (1, True), (FIRST_WINDOW, True), (FIRST_WINDOW + 1, False)):
        assert pending.accepts(up(syn + ahead)) is accepted
    assert pending.accepts(up(syn + 1, RST))
    assert not pending.accepts(up(syn + 2, RST))
    assert pending.accepts(down(900, ACK, syn + 1))
    assert not pending.accepts(down(900, ACK, syn + 2))
    assert not pending.accepts(down(900, PSH, syn + 1))


@STARTS
def test_what_comes_after_the_answer_is_shortly_after_both(syn):
    """Whoever sends it."""
    pending = PendingSyn(CLIENT, SERVER, syn, 5)
    pending.server_syn = server = (syn + 5_000_000) % WRAP
    window = FIRST_WINDOW
    for ahead, accepted in ((0, False), (1, True), (window, True), (window + 1, False)):
        assert pending.accepts(up(syn + 1, ACK, server + ahead)) is accepted
        assert pending.accepts(up(syn + ahead, ACK, server + 1)) is accepted
        assert pending.accepts(down(server + 1, ACK, syn + ahead)) is accepted
        assert pending.accepts(down(server + ahead, ACK, syn + 1)) is accepted
    assert pending.accepts(up(syn + 1, PSH, 12345))  # it acknowledges nothing
    assert not pending.accepts(down(server + 1, PSH, syn + 1))


def test_the_windows_of_both_syns_are_kept():
    """With their scales."""
    pending = PendingSyn(CLIENT, SERVER, 100, 5)
    assert (pending.is_attempt, pending.time_ns, pending.syns) == (False, 5, {})
    pending.record(Segment(CLIENT, SERVER, 100, 0, SYN, b"", 1000, 7))
    pending.record(Segment(SERVER, CLIENT, 900, 101, SYN | ACK, b"", 2000))
    assert pending.syns == {CLIENT: (1000, 7), SERVER: (2000, NO_SCALE)}
    assert scale_of(up(100, SYN)) == NO_SCALE
