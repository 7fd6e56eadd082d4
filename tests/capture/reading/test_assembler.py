"""From the packets or messages of a file to the events of its sessions."""

import pytest

from lbcproxy import networks
from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.events import CaptureSessionEnded, SectionHeader
from lbcproxy.capture.ip.segments import build
from lbcproxy.capture.packet import ACK, PSH, SYN, Packet, Section, Segment, Statistics
from lbcproxy.capture.reading import captured_connection as module
from lbcproxy.capture.reading.assembler import Assembler
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.capture.tcp.stream_events import AnnotatedEvent, Closed, Data, Gap, Opened
from lbcproxy.session import Direction
from lbcproxy.session.events import (
    Delivered,
    NotRecorded,
    SessionStarted,
    UpstreamConnected,
)
from lbcproxy.wire.envelope import frame
from tests.capture.recordings import CLIENT, NODE

REGTEST = networks.get("lbry-regtest")
UP, DOWN = Direction
SECOND = 1_000_000_000
RAW_IP = 101
OURS = '{"schema":"lbcproxy/1","network":"lbry-regtest","legs":"both","changes":true}'


def block(size):
    """Return a message with so many bytes in all."""
    return frame(REGTEST.magic, "block", bytes(size - 24))


class Reading:
    """An assembler that is given events and packets."""

    def __init__(self, *custom, network=REGTEST):
        self.stats = ReadStats()
        self.assembler = Assembler(self.stats, network)
        if custom:
            list(self.assembler.feed(Section(custom, (), 0)))
        self.time = 0

    def feed(self, event, annotations=None, *, complete=True):
        """Read an event that a file says has happened."""
        return list(self.assembler.feed(AnnotatedEvent(event, annotations or {}, complete)))

    def open(self, number, annotations=None):
        """Open a connection."""
        return self.feed(Opened(number, CLIENT, NODE, 1), annotations)

    def data(self, number, data, annotations=None, *, from_client=True, complete=True):
        """Read bytes of a connection; return what passed."""
        self.time += 1
        event = Data(number, from_client, data, self.time)
        found = self.feed(event, annotations, complete=complete)
        return [
            (each.info.number, delivery.raw)
            for each in found
            if isinstance(each, Delivered)
            for delivery in each.deliveries
        ]

    def packet(self, flags, data=b"", *, sequence=1, time_ns=SECOND, **named):
        """Read a packet from the client."""
        segment = Segment(CLIENT, NODE, sequence, 1, flags, data)
        return list(self.assembler.feed(Packet(time_ns, RAW_IP, build(segment), 24, **named)))

    @property
    def held(self):
        """Bytes of incomplete messages."""
        return [each.buffered_bytes for each in self.assembler._connections.values()]


def kinds(events):
    """Return the names of some events."""
    return [type(each).__name__ for each in events]


# What is held.


@pytest.fixture
def many(monkeypatch):
    """Return three connections with incomplete messages, the second largest first."""
    monkeypatch.setattr(module, "CHECK_BUFFERED_EVERY", 100)
    reading = Reading()
    for number, size in enumerate((400, 500, 300), 1):
        reading.open(number)
        reading.assembler._shared.limit._unchecked = -10_000
        assert reading.data(number, block(2_000)[:size]) == []
    assert len(reading.held) == 3
    return reading


@pytest.mark.parametrize(("more", "checked"), [(100, False), (101, True)])
def test_buffers_are_checked_after_so_many_bytes(many, monkeypatch, more, checked):
    """Not at each packet: there may be thousands of connections."""
    monkeypatch.setattr(module, "MAX_BUFFERED", 0)
    many.assembler._shared.limit._unchecked = 0
    many.data(3, bytes(more))
    assert many.assembler._shared.limit._unchecked == (0 if checked else more)
    assert bool(many.held[0]) is not checked


@pytest.mark.parametrize("excess", [0, 1])
def test_the_largest_incomplete_messages_are_cut(many, monkeypatch, excess):
    """As few as it takes to get to half of what may be held."""
    total = sum(many.held)
    monkeypatch.setattr(module, "MAX_BUFFERED", total - excess)
    many.assembler._shared.limit._unchecked = 100
    before = many.held
    found = list(many.assembler._release_excess(7))
    if not excess:
        assert (found, many.held) == ([], before)
        return
    assert kinds(found) == ["SessionStarted", "Delivered"] * 2
    cut = [(each.info.number, each.deliveries[0].raw, each.time_ns) for each in found[1::2]]
    assert cut == [(2, block(2_000)[:500], 7), (1, block(2_000)[:400], 7)]
    assert many.held == [0, 0, before[2]]
    assert many.stats.dropped.packets(DropReason.TOO_MUCH_HELD) == 2
    assert many.data(1, block(30)) == [(1, block(30))]


def test_exactly_half_is_enough(many, monkeypatch):
    """The second is not cut for nothing."""
    many.assembler._shared.limit._unchecked = -10_000
    many.data(2, bytes(1_000))
    first, _, third = before = many.held
    monkeypatch.setattr(module, "MAX_BUFFERED", 2 * (first + third))
    assert sum(before) > 2 * (first + third)
    list(many.assembler._release_excess(7))
    assert many.held == [first, 0, third]


def test_what_was_sent_is_discarded_with_what_was_received(monkeypatch):
    """It replaced something that is not known any more."""
    reading = Reading(OURS)
    reading.open(1, {"session": 1, "leg": "client"})
    reading.data(1, block(500)[:200])
    reading.data(1, block(500)[:300], {"verdict": "inject"}, from_client=False, complete=False)
    assert reading.held[0] >= 500
    monkeypatch.setattr(module, "MAX_BUFFERED", 10)
    found = list(reading.assembler._release_excess(7))
    assert [each.deliveries[0].raw for each in found] == [block(500)[:200]]
    assert reading.held == [0]
    assert len(reading.assembler._connections[1]._outgoing) == 0
    assert reading.stats.dropped.packets(DropReason.TOO_MUCH_HELD) == 1


# Sessions.


def test_nothing_is_kept_of_a_session_that_is_over():
    """A service reads for months."""
    reading = Reading()
    for number in range(1, 4):
        reading.open(number, {"session": 7, "leg": "client"})
        assert reading.data(number, block(30)) == [((7, 7, 7)[number - 1], block(30))]
        for from_client in (True, False):
            found = reading.feed(Closed(number, from_client, False, 5))
        assert isinstance(found[-1], CaptureSessionEnded)
    assert (reading.assembler._sessions, reading.assembler._connections) == ({}, {})
    assert reading.stats.sessions == 3


def test_what_comes_after_the_end_is_passed_over():
    """A damaged file may say anything."""
    reading = Reading()
    assert reading.feed(Data(9, True, b"x", 1)) == []
    assert reading.feed(Closed(9, True, True, 1)) == []


def test_a_connection_of_no_known_network_is_counted():
    """If anything was sent on it."""
    reading = Reading(network=None)
    for number in (1, 2):
        reading.open(number)
    assert reading.data(1, b"SSH-2.0") == []
    list(reading.assembler.finish())
    assert (reading.stats.skipped, reading.stats.sessions) == (1, 0)


def test_the_second_leg_of_a_session_connects_it():
    """In a file of both legs, and in one that has only the client's bytes."""
    for custom in ((OURS,), (OURS.replace("both", "client"),)):
        reading = Reading(*custom)
        assert kinds(reading.open(1, {"session": 3, "leg": "client"})) == ["SessionStarted"]
        found = reading.open(2, {"session": 3, "leg": "upstream"})
        assert [(type(each), each.info.local) for each in found] == [(UpstreamConnected, CLIENT)]
        assert len(reading.assembler._connections) == (2 if "both" in custom[0] else 1)
        assert reading.stats.sessions == 1
    assert Reading(OURS.replace("both", "client")).open(1, {"session": 3, "leg": "upstream"}) == []


def test_a_continued_session_has_a_version():
    """One that began in this file has none."""
    annotations = {"session": 1, "leg": "client", "protocol_version": 60_000}
    [started] = Reading().open(1, {**annotations, "continued": True})
    assert (started.from_start, started.protocol_version) == (False, 60_000)
    [started] = Reading().open(1, annotations)
    assert (started.from_start, started.protocol_version) == (True, None)


# Packets.


def test_packets_are_counted_as_they_come():
    """And those that the file says are missing."""
    reading = Reading()
    assert kinds(reading.packet(SYN, dropped=3)) == ["NotRecorded"]
    assert reading.packet(ACK, sequence=2) == []
    assert (reading.stats.packets, reading.stats.segments, reading.stats.lost.packets) == (2, 2, 3)
    assert list(reading.assembler.feed(Packet(5, RAW_IP, b"", 24))) == []
    assert (reading.stats.packets, reading.stats.segments) == (3, 2)
    [lost] = reading.assembler.feed(Statistics(time_ns=9, offset=0, dropped=7))
    assert isinstance(lost, NotRecorded)
    assert lost.lost.packets == 4


def test_what_waits_is_given_out_after_a_pause():
    """With a pipe, the next packet may come in an hour; the clock of the capture goes on."""
    reading = Reading()
    assert reading.packet(ACK | PSH, block(30), sequence=100) == []
    found = list(reading.assembler.tick(1.0))
    assert kinds(found) == ["SessionStarted", "Delivered"]
    assert found[1].deliveries[0].raw == block(30)
    assert list(reading.assembler.tick(2.0)) == []


def test_the_clock_of_a_capture_goes_on_in_a_pause(monkeypatch):
    """From its last packet; what TCP waited for is passed on."""
    reading = Reading()
    reading.open(1)
    reading.packet(SYN, time_ns=7 * SECOND)
    asked = []

    def tick(time_ns):
        asked.append(time_ns)
        return [Data(1, True, block(30), time_ns)]

    monkeypatch.setattr(reading.assembler._streams, "tick", tick)
    [_, passed] = reading.assembler.tick(2.5)
    assert isinstance(passed, Delivered)
    assert asked == [9_500_000_000]


def test_without_packets_time_does_nothing():
    """Our own files do not depend on it."""
    reading = Reading(OURS)
    assert list(reading.assembler.tick(1e6)) == []


def test_a_section_ends_all_that_is_open():
    """And its comments are kept."""
    reading = Reading()
    reading.open(1, {"session": 1, "leg": "client"})
    found = list(reading.assembler.feed(Section((OURS,), ("hello",), 0)))
    assert kinds(found) == ["CaptureSessionEnded", "SectionHeader"]
    assert isinstance(found[1], SectionHeader)
    assert (reading.stats.sections, reading.stats.comments) == (1, ["hello"])
    assert reading.assembler._sessions == {}


def test_comments_of_packets_without_data_are_not_kept():
    """But counted, and not those of our own files, which are for people alone."""
    reading = Reading()
    reading.packet(SYN, comments=("a", "b"))
    assert dict(reading.stats.not_kept) == {"comments of packets without data": 2}
    assert reading.packet(ACK | PSH, block(30), sequence=2, comments=("c",))[1].deliveries[
        0
    ].entries[0].comments == ("c",)
    assert sum(reading.stats.not_kept.values()) == 2
    reading = Reading(OURS)
    reading.packet(SYN, comments=("a", "b"), custom=(OURS[:-1] + ',"session":1,"leg":"client"}',))
    assert sum(reading.stats.not_kept.values()) == 0


def test_a_network_that_its_magic_does_not_tell_for_certain_is_assumed():
    """Unless the user has said it."""
    assumed = next(each for each in networks.all_networks().values() if each.assumed)
    for chosen in (None, assumed):
        reading = Reading(network=chosen)
        reading.open(1)
        reading.feed(Data(1, True, frame(assumed.magic, "ping", bytes(8)), 2))
        assert list(reading.stats.assumed) == ([] if chosen else [assumed.id])


def test_a_gap_is_reported_by_the_leg_that_received_it():
    """One that was not received either has an annotation on both legs."""
    reading = Reading(OURS)
    for number, leg in ((1, "client"), (2, "upstream")):
        reading.open(number, {"session": 1, "leg": leg})
    found = reading.feed(Gap(1, True, 50, 2), {"missing": 50})
    assert [each.missing for each in found[0].deliveries[0].entries] == [50]
    assert reading.feed(Gap(2, True, 50, 3), {"missing": 50}) == []
    found = reading.feed(Gap(2, True, 7, 4))  # the file was cut there
    assert [each.missing for each in found[0].deliveries[0].entries] == [7]


def test_a_session_is_started_once():
    """With its first bytes if its network is found in them."""
    reading = Reading(network=None)
    assert reading.open(1) == []
    found = reading.feed(Data(1, True, block(30) + block(40), 2))
    assert kinds(found) == ["SessionStarted", "Delivered"]
    assert isinstance(found[0], SessionStarted)
    assert kinds(reading.feed(Data(1, True, block(30), 3))) == ["Delivered"]


def test_comments_that_nobody_would_read_are_counted():
    """Of a message in many packets, say."""
    reading = Reading()
    reading.packet(SYN)
    for number in range(3):
        part = block(500)[number * 100 : number * 100 + 100]
        reading.packet(ACK | PSH, part, sequence=2 + number * 100, comments=("c",) * 40)
    assert dict(reading.stats.not_kept) == {"comments of packets": 20}
    found = reading.packet(ACK | PSH, block(500)[300:], sequence=302)
    assert len(found[-1].deliveries[0].entries[0].comments) == 100
    assert dict(reading.stats.not_kept) == {"comments of packets": 20}


def test_comments_without_a_message_are_counted_at_the_end():
    """Nothing takes them."""
    reading = Reading(network=None)
    reading.packet(SYN)
    reading.packet(ACK | PSH, b"SSH-2.0", sequence=2, comments=("a", "b"))
    list(reading.assembler.finish())
    assert dict(reading.stats.not_kept) == {"comments of packets": 2}
