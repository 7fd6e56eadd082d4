"""Tests of how what is not given out is counted, and said."""

import pytest

from lbcproxy.capture.dropped import Dropped, DropReason
from lbcproxy.capture.reading.read_stats import ReadStats


def test_protocols_are_one_sentence_with_the_most_frequent_first():
    """It is what a user reads who does not find the messages of a tunnel."""
    dropped = Dropped()
    dropped.add(DropReason.NOT_TCP, "ARP", packets=3)
    dropped.add(DropReason.ENCAPSULATION, "GRE", packets=40)
    for _ in range(12):
        dropped.add(DropReason.NOT_TCP, "UDP")
    assert dropped.sentences() == ["55 packets hold no TCP that is read: GRE 40, UDP 12, ARP 3"]
    assert dropped.sentences(ordinary=False) == ["40 packets hold no TCP that is read: GRE 40"]


def test_one_packet_is_said_in_the_singular():
    dropped = Dropped()
    dropped.add(DropReason.HEADER_CUT, "TCP")
    assert dropped.sentences() == ["1 packet is not read since a header is cut: TCP 1"]


@pytest.mark.parametrize("reason", DropReason)
def test_every_reason_has_words(reason: DropReason):
    """A reason without a description would be counted and never reported."""
    dropped = Dropped()
    dropped.add(reason, "detail", packets=1_234, payload=5_678)
    [sentence] = dropped.sentences()
    assert sentence.startswith("1,234 ")
    assert sentence.endswith(" (5,678 bytes): detail 1,234")
    dropped = Dropped()
    dropped.add(reason)
    [sentence] = dropped.sentences()
    assert sentence.startswith("1 ")
    assert ":" not in sentence


def test_counts_are_data_too():
    """`info -T json` prints them."""
    dropped = Dropped()
    assert not dropped
    dropped.add(DropReason.NOT_TCP, "UDP", payload=7)
    dropped.add(DropReason.NOT_TCP, "UDP", payload=8)
    assert dropped
    assert dropped.packets() == dropped.packets(DropReason.NOT_TCP) == 2
    assert dropped.packets(DropReason.HEADER_CUT) == 0
    assert dropped.to_list() == [
        {"reason": "not-tcp", "detail": "UDP", "packets": 2, "bytes": 15},
    ]


def test_details_are_bounded():
    """They come from the file."""
    dropped = Dropped()
    for number in range(5_000):
        dropped.add(DropReason.NOT_TCP, f"protocol {number}")
    assert len(dropped.to_list()) <= 1_001
    assert dropped.packets() == 5_000


def test_ordinary_protocols_are_reported_if_there_is_no_tcp():
    """An empty answer would leave it open whether the file was read at all."""
    met = ReadStats()
    met.dropped.add(DropReason.NOT_TCP, "UDP", packets=12)
    assert met.notices == met.all_notices == ["12 packets hold no TCP that is read: UDP 12"]
    met.segments = 1
    assert met.notices == []
    assert met.all_notices == ["12 packets hold no TCP that is read: UDP 12"]


def test_a_file_of_a_tunnel_alone_is_unreadable():
    """Its notices are the text of the error then, and are not said twice."""
    met = ReadStats()
    met.dropped.add(DropReason.ENCAPSULATION, "ESP", packets=12)
    assert met.is_unreadable
    assert met.notices == []
    assert met.all_notices == ["12 packets hold no TCP that is read: ESP 12"]
