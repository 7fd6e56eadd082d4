"""Tests of reading classic pcap, and of choosing a format."""

import io
import struct
from pathlib import Path

import pytest

from lbcproxy.capture.formats import pcap, read_packets
from lbcproxy.capture.ip.segments import build, dissect
from lbcproxy.capture.packet import Packet, Segment
from lbcproxy.capture.spans import intact_length
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from tests.tools import tshark

FRAMES = [b"first", b"", b"third packet"]


def pcap_file(order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 101) -> bytes:
    """A small file: its packets are FRAMES, at 10.000000007, 11.000000007, ... in its unit."""
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link_type)
    for number, frame in enumerate(FRAMES):
        data += struct.pack(order + "IIII", 10 + number, 7, len(frame), len(frame)) + frame
    return data


Variant = tuple[str, int, tuple[int, int]]
OLD_VERSIONS = [(2, 0), (2, 1), (2, 2), (2, 3), (543, 0)]
VARIANTS: list[Variant] = [
    (order, magic, version)
    for order in "<>"
    for magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    for version in ((2, 4), *OLD_VERSIONS)
]


def variant_file(order: str, magic: int, version: tuple[int, int], swaps: bool) -> bytes:
    """A file of any kind that libpcap reads: its packets are FRAMES, cut from 99 bytes."""
    data = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 262_144, 101)
    for number, frame in enumerate(FRAMES):
        lengths = (99, len(frame)) if swaps else (len(frame), 99)
        data += struct.pack(order + "IIII", 1_700_000_000 + number, 7, *lengths)
        if magic == 0xA1B2CD34:  # interface, protocol, direction
            data += struct.pack(order + "IHBx", 2, 0x0800, 4)
        data += frame
    return data


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_that_libpcap_reads_are_read(variant: Variant):
    """Old tools and patched ones wrote them; read as plain ones they are damage, or worse."""
    order, magic, version = variant
    swappings = {(2, 3): (True, False), (2, 4): (False,)}.get(version, (True,))
    for swaps in swappings:
        found, error = until_error(variant_file(order, magic, version, swaps))
        assert (found, error) == (FRAMES, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stretches_of_variants_are_whole(variant: Variant):
    """What `repair` and the end of a recording ask: every prefix has its whole packets."""
    order, magic, version = variant
    data = variant_file(order, magic, version, version != (2, 4))
    size = 24 if magic == 0xA1B2CD34 else 16
    ends = [24]
    for frame in FRAMES:
        ends.append(ends[-1] + size + len(frame))
    assert ends[-1] == len(data)
    for cut in range(24, len(data) + 1):
        length = intact_length(pcap.spans(io.BytesIO(data[:cut])))
        assert length == max(end for end in ends if end <= cut)


@pytest.mark.slow
def test_tshark_reads_variants_in_the_same_way(tmp_path: Path):
    """The files are made here by hand; those that an outside judge reads at all, it reads so."""
    ping = build(Segment(Endpoint("10.0.0.1", 5), Endpoint("10.0.0.2", 6), 7, 9, 0x18, b"payload"))
    for order, magic, version in VARIANTS:
        if version == (2, 4):
            data = struct.pack(order + "IHHiIII", magic, *version, 0, 0, 262_144, 101)
            for second in range(3):
                data += struct.pack(order + "IIII", second, 7, len(ping), len(ping))
                data += bytes(8) * (magic == 0xA1B2CD34) + ping
            path = tmp_path / "variant.pcap"
            path.write_bytes(data)
            found = [dissect(packet) for packet in pcap.read(io.BytesIO(data))]
            assert [each and each.payload for each in found] == [b"payload"] * 3
            assert tshark("-r", str(path), "-Tfields", "-e", "tcp.len").split() == ["7"] * 3


def until_error(data: bytes) -> tuple[list[bytes], CaptureError | None]:
    """The packets before the end or the error, and the error."""
    found: list[bytes] = []
    try:
        found.extend(packet.data for packet in pcap.read(io.BytesIO(data)))
    except CaptureError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1_000), (0xA1B23C4D, 1)])
def test_packets_are_read_in_any_byte_order_and_unit(order: str, magic: int, unit: int):
    """Files come from any machine; a wrong unit would put packets a thousandfold apart."""
    packets = list(pcap.read(io.BytesIO(pcap_file(order, magic))))
    assert [packet.data for packet in packets] == FRAMES
    assert [packet.time_ns for packet in packets] == [
        seconds * 1_000_000_000 + 7 * unit for seconds in (10, 11, 12)
    ]
    assert [packet.offset for packet in packets] == [24, 45, 61]
    assert {packet.link_type for packet in packets} == {101}


def test_the_link_type_is_read_without_its_flags():
    """The upper bits tell of a frame check sequence, not of another link type."""
    (packet, *_) = pcap.read(io.BytesIO(pcap_file(link_type=0x14000001)))
    assert packet.link_type == 1


def test_every_prefix_gives_the_packets_before_the_cut():
    """A recorder that was killed leaves a file that ends anywhere."""
    whole = pcap_file()
    ends = [24, 45, 61, 89]
    for cut in range(1, len(whole) + 1):
        found, error = until_error(whole[:cut])
        assert found == FRAMES[: sum(end <= cut for end in ends[1:])]
        assert (error is None) == (cut in ends)
        assert error is None or error.offset == max([end for end in ends if end < cut], default=0)


def test_an_impossible_length_is_not_allocated_for():
    """Damage must not cost gigabytes."""
    data = pcap_file() + struct.pack("<IIII", 0, 0, 64 * 2**20 + 1, 5) + b"12345"
    packets = pcap.read(io.BytesIO(data))
    assert [next(packets).data for _ in FRAMES] == FRAMES
    with pytest.raises(CaptureError, match=r"cannot have 67,108,865 bytes \(at byte 89"):
        next(packets)


def test_an_empty_file_is_named_so():
    """The usual reason is a recorder that has written nothing yet."""
    with pytest.raises(CaptureError, match="empty file"):
        read_packets(io.BytesIO(b""))


def test_the_error_for_an_unknown_file_lists_the_formats():
    """Anyone who opens another file by mistake sees why."""
    match = r"begins with 50592046; known formats: core, ndjson, pcap, pcapng"
    with pytest.raises(CaptureError, match=match):
        read_packets(io.BytesIO(b"PY Fand more"))
    with pytest.raises(CaptureError, match="the gzip stream is damaged"):
        read_packets(io.BytesIO(b"\x1f\x8b\x08\x00 and more"))


def test_the_format_is_chosen_by_content_and_the_file_is_left_open():
    """Names lie, pipes have none, and a file is closed by whoever opened it."""
    file = io.BytesIO(pcap_file())
    packets = read_packets(file)
    assert [packet.data for packet in packets if isinstance(packet, Packet)] == FRAMES
    del packets
    assert not file.closed


class Pipe(io.BytesIO):
    """A file that cannot be wound back."""

    def seekable(self) -> bool:
        """Refuse to seek, as a pipe does."""
        return False

    def seek(self, *_: object) -> int:
        """Refuse, as a pipe does."""
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        """Refuse, as a pipe does."""
        raise io.UnsupportedOperation("tell")


def test_a_pipe_is_read_as_a_file_is():
    """`tcpdump -w - | lbcproxy show -` has no file to seek in."""
    assert len(list(read_packets(Pipe(pcap_file())))) == len(FRAMES)
