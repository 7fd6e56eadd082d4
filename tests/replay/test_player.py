"""The player: both sides of a conversation, in the recorded order."""

import itertools

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lbcproxy.replay.player import STALL_TIMEOUT, Play, PlaybackFailed
from lbcproxy.session import Direction
from lbcproxy.transport.frames import FrameTransport
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import NETWORK, FakeTransport

UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
TALK = [(UP, b"hello"), (UP, b" you"), (DOWN, b"hi"), (UP, b"bye")]


class Wire(StringTransport):
    """A transport that TCP's options can be set on."""

    def setTcpNoDelay(self, enabled):
        pass


@pytest.fixture
def stage():
    clock = Clock()
    play = Play(TALK, clock)
    node, client = play.node().buildProtocol(None), play.client()
    client.makeConnection(Wire())
    node.makeConnection(Wire())
    outcome = []
    play.done.addBoth(outcome.append)
    return play, client, node, clock, outcome


def test_each_side_speaks_when_the_other_has_heard_what_went_before(stage):
    """A recording's order is its meaning."""
    _, client, node, _, outcome = stage
    assert client.transport.value() == b"hello you"
    assert node.transport.value() == b""
    node.dataReceived(b"hello")
    assert node.transport.value() == b""
    node.dataReceived(b" you")
    assert node.transport.value() == b"hi"
    client.dataReceived(b"hi")
    assert client.transport.value() == b"hello youbye"
    node.dataReceived(b"bye")
    assert outcome == [None]


def test_other_bytes_than_were_sent_are_a_divergence(stage):
    """A proxy that changes a byte must not pass."""
    _, _, node, _, outcome = stage
    node.dataReceived(b"hellO")
    assert isinstance(outcome[0].value, PlaybackFailed)


def test_bytes_out_of_turn_are_a_divergence(stage):
    """So must one that makes up bytes."""
    _, client, _, _, outcome = stage
    client.dataReceived(b"hi")
    assert isinstance(outcome[0].value, PlaybackFailed)


def test_silence_ends_it(stage):
    """A demo that hangs is worse than one that fails."""
    _, _, _, clock, outcome = stage
    clock.advance(STALL_TIMEOUT)
    assert "nothing arrived for 30 s, in turn 1 of 3" in str(outcome[0].value)
    assert clock.getDelayedCalls() == []


def test_lost_connection_ends_it(stage):
    """The same."""
    _, client, _, clock, outcome = stage
    client.connectionLost()
    assert "the connection was lost" in str(outcome[0].value)
    assert clock.getDelayedCalls() == []


def test_nothing_is_left_at_the_end(stage):
    """No timers, no connections."""
    _, client, node, clock, _ = stage
    node.dataReceived(b"hello you")
    client.dataReceived(b"hi")
    node.dataReceived(b"bye")
    assert clock.getDelayedCalls() == []
    assert client.transport.disconnecting
    assert node.transport.disconnecting


def frames(*commands: str) -> list[tuple[Direction, bytes]]:
    """A conversation that the client begins."""
    directions = itertools.cycle((UP, DOWN))
    return [(next(directions), frame(NETWORK.magic, each, bytes(8))) for each in commands]


def test_both_sides_encrypt():
    """The same messages, and the magic is nowhere on the wire."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    clock = Clock()
    play = Play(frames("ping", "pong", "ping"), clock, encrypted_on=NETWORK)
    outcome = []
    play.done.addBoth(outcome.append)
    sides = [play.client(), play.node().buildProtocol(None)]
    wires = [FakeTransport(clock, side) for side in sides]
    for side, wire in zip(sides, wires, strict=True):
        side.makeConnection(wire)
    read = [0, 0]
    for _ in range(10):
        for here, there in ((0, 1), (1, 0)):
            wires[here].read()
            new, read[here] = wires[here].got[read[here] :], len(wires[here].got)
            wires[there].arrive(new)
    assert outcome == [None]
    assert len(wires[0].got) > 100
    assert NETWORK.magic not in wires[0].got + wires[1].got


def test_a_packet_that_was_changed_is_a_divergence():
    """As bytes that were changed are."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    play = Play(frames("ping"), Clock(), encrypted_on=NETWORK)
    outcome = []
    play.done.addBoth(outcome.append)
    client = play.client()
    client.makeConnection(Wire())
    node = FrameTransport(NETWORK.magic, initiating=False)
    first = node.begin()
    packet = bytearray(node.receive(client.transport.value()).output)
    packet[-1] ^= 1
    client.dataReceived(first + bytes(packet))
    assert "encrypted transport: packet 1, at byte " in str(outcome[0].value)
