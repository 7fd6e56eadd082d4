"""Which end of a connection is the server if its start was not captured."""

import pytest

from lbcproxy.capture.packet import ACK, Segment
from lbcproxy.capture.tcp import server_guess
from lbcproxy.capture.tcp.server_guess import ServerGuess
from lbcproxy.endpoint import Endpoint
from tests.session.frames import ping, version


def is_answer(guess, source, target, data=b""):
    """Return whether the source of a segment is taken for the server."""
    ends = (Endpoint("10.0.0.1", source), Endpoint("10.0.0.2", target))
    return guess.is_answer(Segment(*ends, 1, 1, ACK, data))


@pytest.mark.parametrize(
    ("source", "target", "data", "answer"),
    [
        # A port of a known network, whatever else.
        (9246, 80, b"", True),
        (80, 9246, b"", False),
        (60_000, 9246, b"", False),
        # Both have one: the rules that follow.
        (9246, 50_001, b"", True),
        # A port below the ephemeral ports.
        (32_767, 32_768, b"", True),
        (32_768, 32_767, b"", False),
        (32_767, 32_768, version(), True),
        (32_768, 40_000, version(), False),
        # Who sends its version first.
        (40_000, 40_001, version(), False),
        (40_000, 40_001, ping(), True),
        (40_001, 40_000, version(), False),
        # The lower port.
        (40_000, 40_001, b"", True),
        (40_001, 40_000, b"", False),
        (40_000, 40_000, b"", False),
        (80, 81, b"", True),
        (81, 80, b"", False),
    ],
)
def test_ports_and_messages_tell_the_server(source, target, data, answer):
    """By the first rule that tells the two ends apart."""
    guess = ServerGuess(frozenset({9246, 50_001}))
    assert is_answer(guess, source, target, data) is answer


def test_an_end_that_accepted_a_connection_is_a_server():
    """Even if its port is higher, but not if the other has the port of a network."""
    guess = ServerGuess(frozenset({9246}))
    guess.add(Endpoint("10.0.0.1", 50_000))
    assert is_answer(guess, 50_000, 80)
    assert not is_answer(guess, 50_000, 9246)
    assert is_answer(guess, 9246, 50_000)
    guess.add(Endpoint("10.0.0.2", 40_000))
    assert not is_answer(guess, 50_000, 40_000)  # both did


def test_servers_that_are_remembered_are_bounded(monkeypatch):
    """The one that accepted its last connection longest ago is forgotten."""
    monkeypatch.setattr(server_guess, "MAX_SERVERS", 2)
    guess = ServerGuess(frozenset())
    for port in (50_001, 50_002, 50_001, 50_003):
        guess.add(Endpoint("10.0.0.1", port))
    assert [is_answer(guess, port, 80) for port in (50_001, 50_002, 50_003)] == [True, False, True]
