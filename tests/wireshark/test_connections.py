"""Conversations of the model of TCP, as tshark reads them and as we do.

tshark judges less strictly than a receiver, so it is asked only where that makes no difference:

- It gives what passed, not what an end took. Where a host resets or forgets a connection it shows
  messages that nobody got, as we may.
- It begins a conversation at any SYN with another number: strays and late repetitions of a SYN make
  conversations of their own, and what follows of the true one is in the wrong place.
- It takes stray bytes far ahead for a gap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.ip.segments import LINK_RAW, dissect
from lbcproxy.capture.packet import Packet
from lbcproxy.session import Direction
from tests.capture.tcp_network import SERVER_PORT, Line, Scene, played, together
from tests.capture.tcp_pcap import commands, messages, packet, write_pcap
from tests.capture.tcp_truth import Connection
from tests.wireshark.judging import dissected, run_tshark

pytestmark = pytest.mark.slow

REASSEMBLE = ("-o", "tcp.reassemble_out_of_order:TRUE")
Talks = Counter[tuple[tuple[str, ...], tuple[str, ...]]]
"""The commands of client and server by conversation, and how often each such pair occurs."""


def true_talks(lines: list[Line]) -> Talks:
    """Return what the ends got."""

    def got(connection: Connection, side: int) -> tuple[str, ...]:
        return commands(bytes(connection.sent[side][: connection.got[side]]))

    every = (each for line in lines for each in line.connections)
    return _counted([(got(each, 0), got(each, 1)) for each in every])


def tshark_talks(folder: Path, path: Path) -> Talks:
    """Return what tshark shows."""
    found: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for message in dissected(folder, path, *REASSEMBLE):
        assert message.error is None
        found[message.stream][message.source == SERVER_PORT].append(message.command)
    return _counted([(tuple(client), tuple(server)) for client, server in found.values()])


def our_talks(path: Path) -> Talks:
    """Return what the reader gives."""
    found: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for entry in open_capture(path):
        assert entry.message is not None, entry
        found[entry.session][entry.direction is Direction.TO_CLIENT].append(entry.command)
    return _counted([(tuple(client), tuple(server)) for client, server in found.values()])


def _counted(talks: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> Talks:
    return Counter(each for each in talks if each != ((), ()))


def conversations(folder: Path, path: Path) -> int:
    """Return how many TCP conversations tshark counts."""
    shown = run_tshark(folder, path, "-q", "-z", "conv,tcp", plugin=False)
    return sum("<->" in line for line in shown.splitlines())


@pytest.mark.parametrize(
    "features",
    ["", "disorder", "repeat", "small", "wrap scale", "idle", "loss", "disorder repeat wrap"],
)
def test_tshark_and_we_read_conversations_as_their_ends_had_them(tmp_path: Path, features: str):
    """Sixty conversations on twenty pairs of addresses, which are used again and again."""
    lines = played(
        Scene(7, lines=20, connections=3, features=frozenset(features.split())), messages
    )
    path = write_pcap(tmp_path / "talks.pcap", together(lines))
    assert conversations(tmp_path, path) == 60
    assert tshark_talks(tmp_path, path) == true_talks(lines)
    assert our_talks(path) == true_talks(lines)


def test_the_packets_written_are_the_segments_of_the_model():
    """With windows and their scales."""
    [line] = played(Scene(3, connections=2, features=frozenset({"scale", "wrap"})), messages)
    for each in line.passed:
        read = dissect(Packet(each.time_ns, LINK_RAW, packet(each.segment), 0))
        assert read == each.segment
