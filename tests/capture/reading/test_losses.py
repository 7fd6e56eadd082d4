"""What a capture lacks by its own account."""

import pytest

from lbcproxy.capture.packet import Packet, Section, Statistics
from lbcproxy.capture.reading.losses import MAX_COUNT, MAX_LISTED, LossTotals, LossTracker
from lbcproxy.session import Lost

OURS = '{"schema":"lbcproxy/1","network":"lbry-regtest"}'


def section(*custom):
    """Return the start of a section with some notes."""
    return Section(custom, (), 0)


def statistics(dropped=None, system=None, *, interface=0, custom=(), time_ns=5):
    """Return the counters of an interface."""
    return Statistics(
        time_ns=time_ns,
        offset=0,
        interface=interface,
        dropped=dropped,
        dropped_by_system=system,
        custom=custom,
    )


class Tracked:
    """A capture whose losses are tracked."""

    def __init__(self, *custom):
        self.totals = LossTotals()
        self.tracker = LossTracker(self.totals)
        self.tracker.begin(section(*custom))

    def packet(self, dropped, *, interface=0):
        """Read a packet before which some were dropped; return how many."""
        packet = Packet(7, 1, b"", 0, interface=interface, dropped=dropped)
        return [each.lost.packets for each in self.tracker.in_packet(packet)]

    def counters(self, *arguments, **named):
        """Read counters, and return what they say is lost since the last ones."""
        found = list(self.tracker.in_statistics(statistics(*arguments, **named)))
        assert all((each.info, each.time_ns) == (None, 5) for each in found)
        return [(each.lost.messages, each.lost.packets) for each in found]


def test_counters_of_others_are_totals():
    """Only what has come since the last ones is new."""
    assert Tracked().counters() == []
    assert Tracked().counters(None, 2) == [(0, 2)]
    capture = Tracked()
    assert capture.counters(3) == [(0, 3)]
    assert capture.counters(3) == []
    assert capture.counters(4, 2) == [(0, 3)]
    assert capture.counters() == []
    assert capture.counters(1) == []  # put back: nothing is found again
    assert capture.counters(7) == [(0, 1)]
    assert capture.counters(5, interface=1) == [(0, 5)]
    assert capture.totals.packets == 12


def test_a_new_section_counts_from_zero():
    """Its interfaces are others."""
    capture = Tracked()
    assert capture.counters(3) == [(0, 3)]
    capture.tracker.begin(section())
    assert capture.counters(3) == [(0, 3)]
    assert list(capture.totals.interfaces) == [(1, 0), (2, 0)]


def test_packets_that_say_so_themselves_are_not_counted_again():
    """A packet may say how many were dropped before it, and the counters say it too."""
    capture = Tracked()
    assert capture.packet(None) == []
    assert capture.packet(0) == []
    assert capture.packet(2) == [2]
    assert capture.packet(1) == [1]
    assert capture.packet(4, interface=1) == [4]
    assert capture.counters(5) == [(0, 2)]
    assert capture.counters(4, interface=1) == []
    assert capture.totals.packets == 9


def test_our_own_notes_say_what_is_lost():
    """Messages, not packets, each time only what is new; counters of ours are no interface's."""
    note = '{"schema":"lbcproxy/1","lost":{"messages":3,"bytes":99}}'
    capture = Tracked(OURS)
    assert capture.counters(17, custom=("something", note)) == [(3, 0)]
    assert capture.counters(18, custom=(note,)) == [(3, 0)]
    assert (capture.totals.messages, capture.totals.size, capture.totals.packets) == (6, 198, 0)
    assert capture.totals.interfaces == {}
    assert str(capture.totals) == "6 messages (198 bytes of capture) were not recorded"


@pytest.mark.parametrize(
    ("ours", "found"),
    [((OURS,), [(4, 0)]), ((), [(0, 4)]), (('{"schema":"other/1"}',), [(0, 4)])],
)
def test_a_recording_without_notes_counts_messages(ours, found):
    """Earlier versions left none; of others' the same counter is packets."""
    capture = Tracked(*ours)
    assert capture.counters(4) == found
    assert len(capture.totals.interfaces) == (0 if ours == (OURS,) else 1)
    assert Tracked(OURS).counters() == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[",
        "[" * 100_000,
        '{"lost":{"messages":3}}',
        '{"schema":"other/1","lost":{"messages":3}}',
        '{"schema":"lbcproxy/1","lost":{"messages":-3}}',
        '{"schema":"lbcproxy/1","lost":null}',
    ],
)
def test_a_note_that_says_nothing_is_passed_over(note):
    """Anybody may have written a file."""
    assert Tracked().counters(1, custom=(note,)) == [(0, 1)]


@pytest.mark.parametrize("count", [MAX_COUNT, MAX_COUNT + 1, 2**64 - 1])
def test_no_count_is_too_large(count):
    """A file may claim any number."""
    assert MAX_COUNT == 2**62 - 1
    assert Tracked().counters(count) == [(0, MAX_COUNT)]
    assert Tracked(OURS).counters(count) == [(MAX_COUNT, 0)]
    assert Tracked().packet(count) == [MAX_COUNT]


def test_interfaces_are_bounded(monkeypatch):
    """The counters of those that are known go on."""
    monkeypatch.setattr("lbcproxy.capture.reading.losses.MAX_INTERFACES", 2)
    capture = Tracked()
    for interface in range(4):
        capture.counters(1, interface=interface)
    assert list(capture.totals.interfaces) == [(1, 0), (1, 1)]
    capture.counters(9, interface=1)
    assert [each.dropped for each in capture.totals.interfaces.values()] == [1, 9]


# The totals.


def test_nothing_is_missing():
    """Any of the three is something."""
    assert not LossTotals()
    for lost in (Lost(messages=1), Lost(size=1), Lost(packets=1)):
        totals = LossTotals()
        totals.add(lost, 5)
        assert totals
        assert list(totals.each()) == [(lost, 5)]


@pytest.mark.parametrize("more", [0, 1, 7])
def test_only_the_first_are_listed(more):
    """The others are one, at the time of the last that is listed."""
    totals = LossTotals()
    for number in range(MAX_LISTED + more):
        totals.add(Lost(messages=1, size=20, packets=300), number)
    assert len(totals.listed) == MAX_LISTED
    found = list(totals.each())
    assert found[:MAX_LISTED] == totals.listed
    rest = Lost(messages=more, size=20 * more, packets=300 * more)
    assert found[MAX_LISTED:] == ([(rest, MAX_LISTED - 1)] if more else [])
    assert totals.packets == 300 * (MAX_LISTED + more)
