"""Counts of one pass over a capture, and what they say."""

import pytest

from lbcproxy import networks
from lbcproxy.capture.dropped import DropReason
from lbcproxy.capture.reading.read_stats import MAX_COMMENTS, ReadStats
from lbcproxy.capture.tcp.silent import Silence
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Lost

REGTEST = networks.get("lbry-regtest")
ARP = "1 packet holds no TCP that is read: ARP 1"
GRE = "1 packet holds no TCP that is read: GRE 1"


def test_a_new_pass_has_counted_nothing():
    """And has nothing to say."""
    stats = ReadStats()
    assert (stats.packets, stats.sections, stats.sessions, stats.skipped) == (0, 0, 0, 0)
    assert (stats.segments, stats.first_ns, stats.last_ns) == (0, None, None)
    assert (stats.notices, stats.all_notices, stats.dropped_counts) == ([], [], [])
    assert not stats.is_unreadable


def test_the_time_that_a_capture_covers():
    """Packets may come in any order; a block without a time has none."""
    stats = ReadStats()
    for time_ns in (0, 7, 5, 9, 0, 8):
        stats.count_packet(time_ns)
    stats.record_time(11)
    assert (stats.packets, stats.first_ns, stats.last_ns) == (6, 5, 11)


def test_a_comment_on_sections_is_kept_once():
    """And not more of them than anybody reads."""
    stats = ReadStats()
    for number in range(MAX_COMMENTS + 3):
        for _ in range(2):
            stats.add_comment(str(number))
    assert stats.comments == [str(number) for number in range(MAX_COMMENTS)]


def test_a_network_that_was_assumed_is_said():
    """With the others that it may be."""
    stats = ReadStats()
    stats.assume(REGTEST)
    assert stats.assumptions == []
    assumed = next(each for each in networks.all_networks().values() if each.assumed)
    stats.assume(assumed)
    stats.assume(assumed)
    [text] = stats.assumptions
    others = [each for each in networks.with_magic(assumed.magic) if each != assumed]
    assert others
    names = " and ".join(each.id for each in others)
    assert text == (
        f"magic {assumed.magic.hex()} is taken for that of {assumed.id}; it is that of {names} "
        "too: --network says which"
    )
    assert stats.notices == [text]


@pytest.mark.parametrize("reason", [DropReason.LINK_TYPE, DropReason.ENCAPSULATION])
def test_a_capture_without_tcp_that_may_hold_some_is_unreadable(reason):
    """Then it is an error, not a notice; one segment of TCP is enough to make it a notice."""
    stats = ReadStats()
    stats.dropped.add(reason, "GRE")
    assert stats.is_unreadable
    assert (stats.notices, len(stats.all_notices)) == ([], 1)
    stats.lost.add(Lost(packets=3), 1)
    assert stats.notices == ["3 packets were not recorded"]
    stats.segments = 1
    assert not stats.is_unreadable
    assert stats.notices == ["3 packets were not recorded", *stats.all_notices]


def test_what_any_network_card_sees_is_only_said_if_there_is_nothing_else():
    """A user who finds no message learns what there was."""
    stats = ReadStats()
    stats.dropped.add(DropReason.NOT_TCP, "ARP")
    assert not stats.is_unreadable
    assert stats.notices == [ARP]
    stats.segments = 1
    assert (stats.notices, stats.all_notices) == ([], [ARP])


def test_connections_without_a_byte_are_said():
    """They are often what a user looks for."""
    stats = ReadStats()
    stats.silent.add(Endpoint("10.0.0.2", 9246), Silence.REFUSED)
    assert stats.notices == ["1 connection to 10.0.0.2:9246: refused"]


def test_skipped_connections_are_said_if_others_were_read():
    """Otherwise there is an error that says more."""
    stats = ReadStats()
    stats.skipped = 1_234
    assert stats.notices == []
    stats.sessions = 1
    [text] = stats.notices
    assert "no magic of a known network is in them: 1,234; --network" in text
    stats.skipped = 0
    assert stats.notices == []


def test_fragments_that_wait_for_others_count_as_dropped(monkeypatch):
    """As long as they wait; what was counted stays as it is."""
    stats = ReadStats()
    monkeypatch.setattr(type(stats.fragments), "incomplete", 2)
    stats.dropped.add(DropReason.NOT_TCP, "ARP")
    for _ in range(2):
        found = {each["reason"]: each["packets"] for each in stats.dropped_counts}
        assert found[DropReason.FRAGMENTS_MISSING] == 2
        assert len(found) == 2
    assert stats.dropped.packets(DropReason.FRAGMENTS_MISSING) == 0
    assert len(stats.all_notices) == 2
