"""One file of several: what it keeps open for the next one."""

from pathlib import Path

import pytest

from lbcproxy import networks
from lbcproxy.capture.ip.segments import build
from lbcproxy.capture.packet import ACK, PSH, Leg, Packet, Section, Segment
from lbcproxy.capture.reading.part_assembler import PartAssembler
from lbcproxy.capture.reading.parts import Part, Parts
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.capture.tcp.stream_events import AnnotatedEvent, Data, Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import UNKNOWN_SIZE, Direction
from lbcproxy.session.events import Delivered
from lbcproxy.wire.envelope import frame
from tests.capture.recordings import CLIENT, NODE

UP, DOWN = Direction
REGTEST = networks.get("lbry-regtest")
PING = frame(REGTEST.magic, "ping", bytes(8))
BOTH = '{"schema":"lbcproxy/1","network":"lbry-regtest","legs":"both","changes":true,"name":"main"}'
ONE = BOTH.replace("both", "client")
LOCAL = Endpoint("10.0.0.2", 5000)


class Reading:
    """A file that is read as one of several."""

    def __init__(self, parts, name, *custom):
        self.stats = ReadStats()
        self.part = Part(parts, Path(name))
        self.assembler = PartAssembler(self.stats, REGTEST, self.part)
        if custom:
            self.feed(Section(custom, (), 0))

    def feed(self, item):
        """Read an item; return its events."""
        return list(self.assembler.feed(item))

    def open(self, number, leg, **annotations):
        """Open a leg of session 1."""
        ends = (CLIENT, NODE) if leg == "client" else (LOCAL, NODE)
        annotations = {"session": 1, "leg": leg, **annotations}
        return self.feed(AnnotatedEvent(Opened(number, *ends, 5), annotations))

    def data(self, number, *, from_client=True):
        """Read a ping; return the numbers of the sessions in which it passed."""
        found = self.feed(AnnotatedEvent(Data(number, from_client, PING, 6), {}))
        return [each.info.number for each in found if isinstance(each, Delivered)]

    def leave(self):
        """End the file; return the names of the events."""
        return [type(each).__name__ for each in self.assembler.leave()]


def kinds(events):
    """Return the names of events, and what is missing."""
    return [
        each.deliveries[0].entries[0].missing
        if isinstance(each, Delivered)
        else type(each).__name__
        for each in events
    ]


def test_a_session_of_ours_is_kept_once():
    """By its client leg; and nothing of a file in which all is over."""
    for custom, legs in ((BOTH, 2), (ONE, 1)):
        parts = Parts()
        reading = Reading(parts, "a.pcapng", custom)
        reading.open(1, "client")
        reading.open(2, "upstream")
        assert len(reading.assembler._connections) == legs
        assert reading.leave() == []
        [[session]] = parts._sessions.values()
        assert (session.client, session.proxy, session.path) == (CLIENT, "main", Path("a.pcapng"))
        assert session.session.own_number == 1
    parts = Parts()
    assert Reading(parts, "a.pcapng", ONE).leave() == []
    assert parts._assemblers == {}


def test_a_connection_of_others_is_kept_by_its_ends():
    """It is no session of ours; the next file hands it its segments."""
    parts = Parts()
    first = Reading(parts, "a.pcap")
    packet = lambda at, data: Packet(  # noqa: E731
        at, 101, build(Segment(CLIENT, NODE, 100 + at, 1, ACK | PSH, data)), 24
    )
    assert first.feed(packet(1, PING[:10])) == []
    assert first.leave() == []
    assert (parts._sessions, len(parts._by_ends)) == ({}, 1)
    second = Reading(parts, "b.pcap")
    second.feed(packet(11, PING[10:]))
    found = list(second.assembler.leave())
    assert [type(each).__name__ for each in found] == ["SessionStarted", "Delivered"]
    assert found[1].deliveries[0].raw == PING
    assert second.assembler._connections == {}
    assert [type(each).__name__ for each in parts.finish()] == ["CaptureSessionEnded"]


@pytest.mark.parametrize("custom", [BOTH, ONE])
def test_a_session_goes_on_in_the_next_part(custom):
    """On both legs, with what is missing between the two of each direction."""
    parts = Parts()
    first = Reading(parts, "a.pcapng", custom)
    first.open(1, "client")
    first.open(2, "upstream")
    assert first.data(1) == [1]
    first.leave()
    second = Reading(parts, "a-2.pcapng", custom)
    position = {"to_upstream": 40, "to_client": 7}
    found = second.open(1, "client", continued=True, position=position)
    found += second.open(2, "upstream", continued=True, position=position)
    assert kinds(found) == [8, 7]
    assert second.data(1) == [1]
    # Of both legs, the upstream's has what the node sent.
    assert second.data(2 if custom is BOTH else 1, from_client=False) == [1]
    assert second.leave() == []
    assert kinds(parts.finish()) == ["CaptureSessionEnded"]


def test_a_gap_between_parts_may_be_of_unknown_size():
    """Nobody has counted what passed."""
    parts = Parts()
    first = Reading(parts, "a.pcapng", ONE)
    first.open(1, "client")
    first.leave()
    second = Reading(parts, "a-2.pcapng", ONE)
    found = second.open(1, "client", continued=True, unrecorded=True)
    assert kinds(found) == [UNKNOWN_SIZE, UNKNOWN_SIZE]
    assert list(first.assembler.fill(99, None, 5)) == []


def test_an_upstream_that_was_connected_later_is_reported_then():
    """The first part had only the client's leg; its number there is another one."""
    parts = Parts()
    first = Reading(parts, "a.pcapng", ONE)
    first.open(1, "client")
    first.leave()
    second = Reading(parts, "a-2.pcapng", ONE)
    second.open(1, "client", continued=True)
    assert kinds(second.open(2, "upstream", continued=True)) == ["UpstreamConnected"]
    [session] = first.assembler._sessions.values()
    number, events = first.assembler.reopen(session, Leg.UPSTREAM, Opened(9, LOCAL, NODE, 5), {})
    assert (number, list(events)) == (-2, [])
    number, events = first.assembler.reopen(session, Leg.CLIENT, Opened(9, CLIENT, NODE, 5), {})
    assert (number, list(events)) == (1, [])


def test_another_recording_is_not_the_next_part():
    """Its proxy has another name, or it has both legs."""
    for custom in (ONE.replace("main", "other"), BOTH):
        parts = Parts()
        first = Reading(parts, "a.pcapng", ONE)
        first.open(1, "client")
        first.leave()
        second = Reading(parts, "a-2.pcapng", custom)
        assert kinds(second.open(1, "client", continued=True)) == ["SessionStarted"]
        assert second.data(1) == [2]
