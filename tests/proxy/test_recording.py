"""Tests of a relay with its recorder: what a capture holds of what passed."""

import io

import pytest

from lbcproxy.capture import Recorder
from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.ip.segments import dissect
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.stream_events import Data
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import NETWORK, Scene

PING = frame(NETWORK.magic, "ping", bytes(8))
PONG = frame(NETWORK.magic, "pong", bytes(8))


class Recorded:
    """A scene whose relay is recorded."""

    def __init__(self, legs: str) -> None:
        self._file = io.BytesIO()
        self._recorder = Recorder(self._file.write, network=NETWORK.id, legs=legs)
        self.scene = Scene(before=[self._recorder])

    def streams(self) -> list[tuple[bytes, bytes]]:
        """Each TCP connection of the capture: from its client, from its server."""
        reassembler, events = Reassembler(), []
        for packet in read_packets(io.BytesIO(self._file.getvalue())):
            if isinstance(packet, Packet):
                segment = dissect(packet)
                assert segment is not None
                events += reassembler.feed(packet.time_ns, segment)
        assert reassembler.finish() == []  # every connection has its end in the file
        data = [each for each in events if isinstance(each, Data)]

        def stream(number: int, from_client: bool) -> bytes:
            wanted = (number, from_client)
            return b"".join(
                each.data for each in data if (each.connection, each.from_client) == wanted
            )

        numbers = sorted({each.connection for each in events})
        return [(stream(number, True), stream(number, False)) for number in numbers]


@pytest.mark.parametrize("legs", ["auto", "client"])
def test_the_client_leg_is_recorded(legs: str):
    """If nothing can change a message, the client's leg has everything."""
    recorded = Recorded(legs)
    scene = recorded.scene.answer()
    scene.client.arrive(PING)
    scene.upstream.arrive(PONG)
    scene.relay.stop()
    scene.settle()
    assert recorded.streams() == [(PING, PONG)]


def test_both_legs_are_recorded():
    """With both legs in a file one can hold what came in against what went out."""
    recorded = Recorded("both")
    scene = recorded.scene.answer()
    scene.client.arrive(PING, PING[:10])
    scene.upstream.arrive(PONG)
    scene.client.finish()
    scene.settle()
    scene.upstream.finish()
    scene.settle()
    assert recorded.streams() == [(PING + PING[:10], PONG)] * 2


def test_what_a_client_said_early_is_on_both_legs():
    """The client's `version` comes before the upstream is there, and is sent to it anyway."""
    recorded = Recorded("both")
    scene = recorded.scene
    scene.client.arrive(PING)
    scene.answer()
    scene.upstream.arrive(PONG)
    scene.relay.stop()
    scene.settle()
    assert scene.upstream.got == PING
    assert recorded.streams() == [(PING, PONG)] * 2


@pytest.mark.parametrize("legs", ["client", "both"])
@pytest.mark.parametrize("direction", Direction)
def test_a_reset_is_recorded_after_what_passed(direction: Direction, legs: str):
    """What the nodes had sent before one crashed is in the file, half messages too."""
    recorded = Recorded(legs)
    scene = recorded.scene.answer()
    scene.client.arrive(PING + PING[:10])
    scene.upstream.arrive(PONG + PONG[:11])
    scene.settle()
    assert (scene.upstream.got, scene.client.got) == (PING + PING[:10], PONG + PONG[:11])
    (scene.client if direction is Direction.TO_UPSTREAM else scene.upstream).reset()
    scene.settle()
    passed = (PING + PING[:10], PONG + PONG[:11])
    assert recorded.streams() == [passed] * (1 + (legs == "both"))


def test_an_abort_is_recorded_after_what_passed():
    """The second Ctrl-C cuts the session, not its recording."""
    recorded = Recorded("both")
    scene = recorded.scene.answer()
    scene.client.arrive(PING + PING[:10])
    scene.upstream.arrive(PONG + PONG[:11])
    scene.settle()
    scene.relay.abort()
    scene.settle()
    assert recorded.streams() == [(PING + PING[:10], PONG + PONG[:11])] * 2
