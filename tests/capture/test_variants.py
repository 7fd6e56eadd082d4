"""One capture in every form in which others write captures: the same messages, the same times.

The forms are written here by hand, in both byte orders, and tshark is asked whether they are what
they should be.
"""

import itertools
import struct
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.formats import read_packets
from tests.capture.formats.pcapng_builder import BIG, LITTLE, Builder
from tests.tools import tshark

SYNC = Path(__file__).parents[2] / "captures" / "lbcd-sync.pcap"
ETHERNET = 1
SECOND = 1_000_000_000
OFFSET = 1_700_000_000


def original() -> list[tuple[int, bytes]]:
    """The packets of the capture, with their times in nanoseconds."""
    with SYNC.open("rb") as file:
        return [(packet.time_ns, packet.data) for packet in read_packets(file)]


def classic(order: str, unit: int) -> bytes:
    """Classic pcap."""
    magic = 0xA1B2C3D4 if unit == 1_000 else 0xA1B23C4D
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, ETHERNET)]
    for time_ns, data in original():
        seconds, rest = divmod(time_ns, SECOND)
        parts.append(struct.pack(order + "IIII", seconds, rest // unit, len(data), len(data)))
        parts.append(data)
    return b"".join(parts)


def ng(build: Builder, unit: int, offset: int = 0, kind: int = 6) -> bytes:
    """A section of pcapng; `kind` chooses the block of its packets."""
    options = [(9, b"\x09" if unit == 1 else b"\x06")]
    if offset:
        options.append((14, build.pack("q", offset)))
    parts = [build.section(), build.interface(*options, link=ETHERNET)]
    for time_ns, data in original():
        count = (time_ns - offset * SECOND) // unit
        if kind == 6:
            parts.append(build.packet(data, time=count))
        elif kind == 2:
            sizes = (*divmod(count, 2**32), len(data), len(data))
            parts.append(build.block(2, build.pack("HHIIII", 0, 3, *sizes) + data))
        else:
            parts.append(build.block(3, build.pack("I", len(data)) + data))
    return b"".join(parts)


VARIANTS = {
    f"{name}, {'micro' if unit == 1000 else 'nano'}seconds, {order} endian": (maker, unit)
    for (name, make), (order, build), unit in itertools.product(
        {
            "pcap": lambda build, unit: classic(build.order, unit),
            "pcapng": ng,
            "pcapng with an offset": lambda build, unit: ng(build, unit, OFFSET),
            "pcapng with obsolete packets": lambda build, unit: ng(build, unit, kind=2),
        }.items(),
        (("little", LITTLE), ("big", BIG)),
        (1, 1000),
    )
    for maker in [lambda make=make, build=build, unit=unit: make(build, unit)]
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "unit"), VARIANTS.values(), ids=VARIANTS)
def test_every_form_holds_the_same_messages_at_the_same_times(tmp_path, make, unit):
    """Whoever wrote the file, on whatever machine."""
    path = tmp_path / "variant"
    path.write_bytes(make())
    before, after = list(open_capture(SYNC)), list(open_capture(path))
    assert [each.raw for each in after] == [each.raw for each in before]
    assert [each.time_ns for each in after] == [each.time_ns // unit * unit for each in before]
    times = tshark("-r", str(path), "-Tfields", "-e", "frame.time_epoch").split()
    assert times == [
        f"{time_ns // SECOND}.{time_ns // unit * unit % SECOND:09}" for time_ns, _ in original()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("build", [LITTLE, BIG], ids=["little", "big"])
def test_packets_without_a_time_hold_the_same_messages(tmp_path, build):
    """Simple packets have none."""
    path = tmp_path / "simple.pcapng"
    path.write_bytes(ng(build, 1, kind=3))
    capture = open_capture(path)
    assert [each.raw for each in capture] == [each.raw for each in open_capture(SYNC)]
    assert (capture.stats.first_ns, capture.stats.last_ns) == (None, None)
    lengths = tshark("-r", str(path), "-Tfields", "-e", "frame.len").split()
    assert lengths == [str(len(data)) for _, data in original()]


def test_sections_of_every_kind_follow_each_other_in_one_file(tmp_path):
    """Files are joined by `cat` and by Wireshark; each section is read by its own rules."""
    sections = [ng(LITTLE, 1), ng(BIG, 1000), ng(BIG, 1, OFFSET), ng(LITTLE, 1000, kind=2)]
    path = tmp_path / "joined.pcapng"
    path.write_bytes(b"".join(sections))
    capture = open_capture(path)
    raws = [each.raw for each in open_capture(SYNC)]
    entries = list(capture)
    assert [each.raw for each in entries] == raws * 4
    assert (capture.stats.sections, capture.sessions) == (4, 4)
    seconds = {each.time_ns // SECOND for each in entries}
    assert seconds == {each.time_ns // SECOND for each in open_capture(SYNC)}
