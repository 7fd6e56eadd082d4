"""Real captures as a bad network or a slow disk would have left them.

The streams of the probe (5 connections, 104 messages) are cut into other segments, shuffled,
repeated and lost; what comes out is held against what went in, byte for byte.
"""

import functools
import itertools
import random
import subprocess
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.capture import open_capture
from lbcproxy.capture.packet import PSH, SYN, Segment
from lbcproxy.session import Direction
from tests.capture.probe_segments import CAPTURES, probe_segments, write_segments
from tests.tools import program

SERVER = 29300


@functools.cache
def messages() -> dict[tuple[int, Direction], list[bytes]]:
    """The messages of the probe, by the client's port and direction."""
    return by_client(CAPTURES / "lbcd-probe.pcap")


def by_client(path: Path) -> dict[tuple[int, Direction], list[bytes]]:
    """Read a capture: messages by the client's port and direction."""
    raws = defaultdict(list)
    for port, entry in entries_of(path):
        if entry.message is not None:
            raws[port, entry.direction].append(entry.raw)
    return raws


def entries_of(path: Path):
    """Return the entries of a capture, each with its client's port."""
    capture = open_capture(path)
    ports = {}
    capture.on_session_ended = lambda report: ports.update({report.number: report.client.port})
    entries = list(capture)
    return [(ports[entry.session], entry) for entry in entries]


def cut(segment: Segment, places: list[int]) -> list[Segment]:
    """Cut a segment at some places; its flags go with its last part."""
    whole = len(segment.payload)
    cuts = sorted({0, whole, *(place % whole for place in places if whole)})
    if len(cuts) < 3 or segment.flags & SYN:
        return [segment]
    parts = []
    for low, high in itertools.pairwise(cuts):
        parts.append(
            msgspec.structs.replace(
                segment,
                sequence=(segment.sequence + low) % 2**32,
                payload=segment.payload[low:high],
                flags=segment.flags if high == whole else segment.flags & ~(PSH | 1),
            )
        )
    return parts


def disordered(seed: int, share: float, window: int) -> list[Segment]:
    """The segments of the probe, a share of them cut and repeated, all shuffled within a window."""
    chance = random.Random(seed)
    made = []
    for segment in probe_segments():
        places = [chance.randrange(2000) for _ in range(chance.randrange(1, 5))]
        parts = cut(segment, places if chance.random() < share else [])
        for part in parts:
            made += [part] * (2 if chance.random() < share / 5 else 1)
    order = [(at + chance.randint(0, window), at) for at in range(len(made))]
    return [made[at] for _, at in sorted(order)]


@pytest.mark.slow
@given(st.integers(0, 2**32), st.sampled_from([0, 0.1, 0.5]), st.sampled_from([0, 1, 3, 8, 20]))
@settings(max_examples=100, deadline=None)
def test_any_segments_order_and_repetition_give_the_same_messages(
    tmp_path_factory, seed, share, window
):
    """Disorder and repetition on the network do not show in the messages."""
    path = write_segments(disordered(seed, share, window), tmp_path_factory.mktemp("disorder"))
    found = entries_of(path)
    assert all(entry.message is not None for _, entry in found)
    assert by_client(path) == messages()


DATA = st.deferred(
    lambda: st.sampled_from([at for at, each in enumerate(probe_segments()) if each.payload])
)


@pytest.mark.slow
@given(DATA, st.integers(0, 5000), st.integers(1, 1500))
@settings(max_examples=150, deadline=None)
def test_a_lost_segment_costs_the_messages_it_touched_and_one_report(
    tmp_path_factory, number, start, size
):
    """Tcpdump drops packets: what is before and after is all there."""
    victim = probe_segments()[number]
    parts = cut(victim, [start, start + size])
    lost = parts[len(parts) // 2]
    lost_parts = [each for each in parts if each is not lost]
    packets = [*probe_segments()[:number], *lost_parts, *probe_segments()[number + 1 :]]
    path = write_segments(packets, tmp_path_factory.mktemp("lost"))
    entries = entries_of(path)
    up = lost.target.port == SERVER
    client = (lost.source if up else lost.target).port
    direction = Direction.TO_UPSTREAM if up else Direction.TO_CLIENT
    [gap] = [(port, entry) for port, entry in entries if entry.missing]
    assert (gap[0], gap[1].direction) == (client, direction)
    assert gap[1].missing == len(lost.payload)
    first = min(
        each.sequence + bool(each.flags & SYN)
        for each in probe_segments()
        if (each.source, each.target) == (lost.source, lost.target) and each.flags & SYN
    )
    low = (lost.sequence - first) % 2**32
    assert f"at byte {low:,} of the stream" in gap[1].error
    expected = dict(messages())
    kept, place = [], 0
    for raw in expected[client, direction]:
        if place + len(raw) <= low or place >= low + len(lost.payload):
            kept.append(raw)
        place += len(raw)
    expected[client, direction] = kept
    assert {key: value for key, value in by_client(path).items() if value} == {
        key: value for key, value in expected.items() if value
    }


@given(st.integers(1, 250))
@settings(max_examples=40, deadline=None)
def test_a_capture_that_begins_in_the_middle_gives_every_whole_message(tmp_path_factory, first):
    """Tcpdump was started late; what came before the first magic is reported as junk."""
    packets = probe_segments()[first:]
    path = write_segments(packets, tmp_path_factory.mktemp("middle"))
    found = by_client(path)
    for (client, direction), every in messages().items():
        up = direction is Direction.TO_UPSTREAM
        size = sum(
            len(each.payload)
            for each in packets
            if (each.source if up else each.target).port == client
            and (each.target if up else each.source).port == SERVER
        )
        whole, left = [], size
        for raw in reversed(every):
            left -= len(raw)
            if left >= 0:
                whole.append(raw)
        assert found.get((client, direction), []) == whole[::-1]


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
@pytest.mark.parametrize("name", ["lbcd-probe", "lbcd-sync"])
def test_what_editcap_makes_of_a_capture_holds_the_same(tmp_path, form, name):
    """Wireshark's tools write every form; times are as fine as the form can say."""
    editcap = program("editcap", "install wireshark-common")
    path = tmp_path / f"edited.{form}"
    subprocess.run([editcap, "-F", form, CAPTURES / f"{name}.pcap", path], check=True)
    before, after = list(open_capture(CAPTURES / f"{name}.pcap")), list(open_capture(path))
    assert [each.raw for each in after] == [each.raw for each in before]
    unit = 1_000 if form == "pcap" else 1
    assert [each.time_ns for each in after] == [each.time_ns // unit * unit for each in before]
