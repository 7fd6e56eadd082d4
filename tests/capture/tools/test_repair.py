"""Tests of keeping what is whole of a damaged capture."""

import errno
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.capture.formats import pcap, pcapng, read_packets
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.spans import intact_length
from lbcproxy.capture.tools.repair import copy_intact, cut_tail, find_damage
from lbcproxy.errors import CaptureError
from tests.capture.formats.pcapng_builder import BIG, LITTLE, Builder

SIZES = [0, 7, 60, 1, 200, 33, 90, 12]


def ng(build: Builder = LITTLE) -> list[bytes]:
    """The blocks of a pcapng: a header, an interface, packets, another section."""
    packets = [build.packet(bytes([65 + at]) * size, time=at) for at, size in enumerate(SIZES)]
    more = [build.packet(b"second section", time=9), build.packet(b"the last", time=10)]
    head = [build.section(), build.interface()]
    return [*head, *packets, *head, *more]


def classic(order: str = "<", magic: int = 0xA1B2C3D4) -> list[bytes]:
    """The same packets as a pcap: its header, then a record each."""
    records = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, 101)]
    for at, size in enumerate([*SIZES, 14, 8]):
        data = bytes([65 + at]) * max(size, 1)
        head = struct.pack(order + "IIII", 1_700_000_000 + at, 5, len(data), len(data))
        head += bytes(8) * (magic == 0xA1B2CD34)
        records.append(head + data)
    return records


FILES = {
    "pcapng": ng(),
    "pcapng, big endian": ng(BIG),
    "pcapng, both": [*ng(), *ng(BIG)],
    "pcap": classic(),
    "pcap, big endian": classic(">"),
    "pcap, nanoseconds": classic("<", 0xA1B23C4D),
    "pcap, longer headers": classic("<", 0xA1B2CD34),
}
each_file = pytest.mark.parametrize("parts", FILES.values(), ids=FILES)


def packets(data: bytes) -> list[bytes]:
    """What a reader finds in a file; CaptureError if it is damaged."""
    return [each.data for each in read_packets(io.BytesIO(data)) if isinstance(each, Packet)]


def until_damage(data: bytes) -> list[bytes]:
    """What a reader finds before the damage."""
    found = []
    try:
        for each in read_packets(io.BytesIO(data)):
            if isinstance(each, Packet):
                found.append(each.data)
    except CaptureError:
        pass
    return found


def repaired(data: bytes, folder: Path) -> bytes:
    """Copy what is whole into a new file, and return that."""
    path, out = folder / "damaged", folder / "repaired"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    found = find_damage(io.BytesIO(data))
    copy_intact(path, out, found)
    assert out.stat().st_size == found.kept
    return out.read_bytes()


@each_file
def test_a_whole_file_has_no_damage(parts, tmp_path):
    """Nothing is cut that need not be."""
    whole = b"".join(parts)
    found = find_damage(io.BytesIO(whole))
    assert (found.size, found.kept, found.damages) == (len(whole), len(whole), ())
    assert found.packets == len(packets(whole))
    assert repaired(whole, tmp_path) == whole


@pytest.mark.slow
@each_file
def test_every_prefix_is_cut_to_its_last_whole_record(parts, tmp_path):
    """A crash leaves a file that ends anywhere."""
    whole = b"".join(parts)
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    path = tmp_path / "cut"
    for size in range(len(parts[0]), len(whole) + 1):
        path.write_bytes(whole[:size])
        with path.open("rb") as file:
            found = find_damage(file)
        last = max(end for end in ends if end <= size)
        assert found.only_tail
        assert (found.kept, bool(found.damages)) == (last, last < size)
        cut_tail(path, found)
        assert path.read_bytes() == whole[:last]
        assert len(packets(path.read_bytes())) == found.packets


@each_file
def test_zeros_at_the_end_are_a_torn_tail(parts, tmp_path):
    """A power failure leaves a file as long as it was to be."""
    whole = b"".join(parts)
    found = find_damage(io.BytesIO(whole + bytes(5_000)))
    assert (found.only_tail, found.kept) == (True, len(whole))


@each_file
@pytest.mark.parametrize("victim", range(3, 9))
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda part: b"\xff" * len(part), id="written over"),
        pytest.param(lambda part: bytes(len(part)), id="zeros"),
        pytest.param(lambda part: part[:9], id="cut short"),
        pytest.param(lambda part: part[:5], id="cut shorter"),
        pytest.param(lambda part: part[:4] + b"\xee" * 12 + part[16:], id="mad length"),
        pytest.param(lambda part: part[:4] + b"\x00\x00\x01\x00" + part[8:], id="long length"),
        pytest.param(lambda part: b"garbage" + part[:-1], id="moved"),
    ],
)
def test_damage_in_the_middle_costs_what_it_hit(parts, victim, damage, tmp_path):
    """Everything after it is found again, at the next record."""
    hurt = [*parts]
    hurt[victim] = damage(parts[victim])
    data = b"".join(hurt)
    expected = packets(b"".join(each for at, each in enumerate(parts) if at != victim))
    if data == b"".join(parts) or until_damage(data) == packets(b"".join(parts)):
        return  # this form of file has nothing there that could be hurt
    kept = packets(repaired(data, tmp_path))
    found = find_damage(io.BytesIO(data))
    # A record that was cut short takes a part of what follows with it.
    assert len(kept) >= len(expected) - 1
    assert set(kept) <= {*expected, *packets(b"".join(parts))}
    assert kept[: victim - 3] == expected[: victim - 3]
    assert kept[-2:] == expected[-2:]
    if found.damages:
        assert not found.only_tail


def test_damage_of_content_is_damage():
    """A block that is whole, and says what cannot be, stops a reader as well."""
    blocks = ng()
    blocks[4] = LITTLE.packet(b"nobody's", interface=7)
    data = b"".join(blocks)
    with pytest.raises(CaptureError, match="interface 7"):
        packets(data)
    found = find_damage(io.BytesIO(data))
    [damage] = found.damages
    assert (damage.start, damage.end) == (len(b"".join(blocks[:4])), len(b"".join(blocks[:5])))
    assert damage.damage == "a packet of interface 7, which is unknown"
    with pytest.raises(CaptureError, match="damaged, and not at its end"):
        intact_length(pcapng.spans(io.BytesIO(data)))


def test_several_damages_are_each_reported():
    """What is between them is kept."""
    blocks = ng()
    blocks[3] = blocks[6] = bytes(16)
    found = find_damage(io.BytesIO(b"".join(blocks)))
    assert [each.end - each.start for each in found.damages] == [16, 16]
    assert found.packets == len(SIZES) - 2 + 2
    assert not found.only_tail


def test_without_its_interface_a_section_is_lost_up_to_the_next():
    """Nothing says what its packets are."""
    blocks = ng()
    blocks[1] = b"\xff" * len(blocks[1])
    found = find_damage(io.BytesIO(b"".join(blocks)))
    assert found.packets == 2
    [damage] = found.damages
    assert damage.end == len(b"".join(blocks[: 2 + len(SIZES)]))


@pytest.mark.parametrize("size", [0, 1, 3, 24])
def test_what_is_not_a_capture_is_refused(size):
    """There is nothing to repair."""
    with pytest.raises(CaptureError, match="empty file|not a capture"):
        find_damage(io.BytesIO(b"this is the text of a note"[:size]))


def test_a_file_that_grew_in_the_meantime_is_not_cut(tmp_path):
    """Somebody records into it: what looks torn is under way."""
    whole = b"".join(ng())
    path = tmp_path / "live.pcapng"
    path.write_bytes(whole[:-3])
    with path.open("rb") as file:
        found = find_damage(file)
    path.write_bytes(whole)
    with pytest.raises(CaptureError, match="being written to"):
        cut_tail(path, found)
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_never_cut_in_place(tmp_path):
    """There are good packets after it."""
    blocks = ng()
    blocks[3] = bytes(16)
    path = tmp_path / "hurt.pcapng"
    path.write_bytes(b"".join(blocks))
    with path.open("rb") as file:
        found = find_damage(file)
    with pytest.raises(ValueError, match="before its end"):
        cut_tail(path, found)


def test_files_are_never_written_over(tmp_path):
    """Not even by what is better."""
    path = tmp_path / "one.pcapng"
    path.write_bytes(b"".join(ng()))
    with path.open("rb") as file:
        found = find_damage(file)
    with pytest.raises(FileExistsError):
        copy_intact(path, path, found)
    assert path.read_bytes() == b"".join(ng())


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    """A file that looks repaired and is not would be worse than none."""
    path, out = tmp_path / "one.pcapng", tmp_path / "out.pcapng"
    path.write_bytes(b"".join(ng()))
    with path.open("rb") as file:
        found = find_damage(file)

    def full(file, target, start, end):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lbcproxy.capture.tools.repair._copy", full)
    with pytest.raises(CaptureError, match=r"cannot write .*out.pcapng: No space left on device"):
        copy_intact(path, out, found)
    assert not out.exists()


@pytest.mark.slow
@given(st.sampled_from(sorted(FILES)), st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_the_damage_what_is_kept_is_whole_and_no_less_than_was_read(name, data):
    """Nothing is made up: each packet that comes out of it went in, but for what was hurt."""
    parts = FILES[name]
    whole = bytearray(b"".join(parts))
    first = len(parts[0])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(first, len(whole) - 1))
        what = data.draw(st.binary(max_size=40))
        whole[place : place + data.draw(st.sampled_from([len(what), 0, 25]))] = what
    damaged = bytes(whole)
    spans = (pcapng if name.startswith("pcapng") else pcap).spans(io.BytesIO(damaged))
    place, kept = 0, b""
    for each in spans:
        assert each.start == place
        assert each.end > each.start
        place = each.end
        if each.damage is None:
            kept += damaged[each.start : each.end]
    assert place == len(damaged)
    before = until_damage(damaged)
    assert packets(kept)[: len(before)] == before


@pytest.mark.parametrize("name", [name for name in sorted(FILES) if name.startswith("pcapng")])
def test_of_a_section_whose_header_is_lost_nothing_is_kept(name):
    """Its blocks would be read in another's byte order, and with another's interfaces."""
    parts = FILES[name]
    hurt = bytearray(b"".join(parts + parts))
    second = len(hurt) // 2
    for place in range(second + 4, second + 12):
        damaged = bytes(hurt[:place] + b"\xff\xfe" + hurt[place + 2 :])
        kept = b"".join(
            damaged[each.start : each.end]
            for each in pcapng.spans(io.BytesIO(damaged))
            if each.damage is None
        )
        assert packets(kept)[: len(until_damage(damaged))] == until_damage(damaged)
        assert kept.startswith(damaged[:second])


def test_the_border_of_what_is_searched_at_once_hides_nothing(monkeypatch):
    """Blocks begin anywhere, also where one reading of the search ends."""
    for module, parts in ((pcapng, ng()), (pcap, classic())):
        monkeypatch.setattr(module, "_SEARCH_CHUNK", 16)
        for size in range(16, 56):
            hurt = [*parts[:4], b"\xff" * size, *parts[4:]]
            found = find_damage(io.BytesIO(b"".join(hurt)))
            [damage] = found.damages
            assert damage.end - damage.start == size
