"""The TCP segments of `captures/lbcd-probe.pcap`, and captures made of them."""

import functools
import struct
from pathlib import Path

from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.ip.segments import build, dissect
from lbcproxy.capture.packet import Segment

CAPTURES = Path(__file__).parents[2] / "captures"


@functools.cache
def probe_segments() -> list[Segment]:
    """The probe_segments of the probe, in order."""
    with (CAPTURES / "lbcd-probe.pcap").open("rb") as file:
        found = [dissect(packet) for packet in read_packets(file)]
    return [each for each in found if each is not None]


def write_segments(packets: list[Segment], folder: Path) -> Path:
    """Write probe_segments as a classic pcap, a millisecond apart."""
    data = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101)]
    for number, each in enumerate(packets):
        raw = build(each)
        times = divmod(number * 1000, 1_000_000)
        data.append(struct.pack("<IIII", *times, len(raw), len(raw)) + raw)
    path = folder / "disorder.pcap"
    path.write_bytes(b"".join(data))
    return path
