"""Damaged, cut, mixed, empty and hostile files of every format: what is before it, then where.

Never another exception than CaptureError, never more memory than a message takes.
"""

import gzip
import io
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.capture import UnknownNetwork
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.errors import CaptureError
from tests.capture.changed_traffic import TALK, Step, record
from tests.capture.roundtrip import CAPTURES, FORMATS, converted, entries_of, read_until_error
from tests.memory import peak, tracing

REGTEST = "lbry-regtest"
NAMES = [name for name in FORMATS if name != "core/"] + ["core"]
PLAIN = ["x.pcapng", "x.pcap", "x.ndjson", "core"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A capture with verdicts in every format; of Core's one file."""
    return written(tmp_path_factory.mktemp("damage"), TALK)


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> dict[str, bytes]:
    """The same of a few messages."""
    return written(tmp_path_factory.mktemp("short"), [TALK[0], TALK[1], TALK[4], TALK[7], TALK[9]])


def written(folder: Path, steps: list[Step]) -> dict[str, bytes]:
    path = record(folder / "talk.pcapng", steps)
    found = {
        name: converted(path, folder / str(number), name).read_bytes()
        for number, name in enumerate(FORMATS)
        if name != "core/"
    }
    [peer] = converted(path, folder, "core/").iterdir()
    return found | {"core": (peer / "msgs_recv.dat").read_bytes()}


def bare(entries: list[dict[str, Any]]) -> list[Any]:
    return [(each["raw"], each["direction"], each["verdict"]) for each in entries]


def read(path: Path, data: bytes) -> tuple[list[Any], CaptureError | None]:
    path.write_bytes(data)
    found, error = read_until_error(path, REGTEST)
    return bare(found), error


def messages(entries: list[Any]) -> list[Any]:
    """Without what is left of a message that is cut."""
    return [
        each for each in entries if each[0].startswith(b"\xfa\xe4\xaa\xd1") and len(each[0]) > 24
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_beginning_of_a_file(tmp_path: Path, short: dict[str, bytes], name: str):
    """Everything before the cut, and nothing twice; an error with a place inside the file."""
    whole = short[name]
    wanted, error = read(tmp_path / "x", whole)
    assert error is None
    most, cut = 0, 0
    for size in range(len(whole)):
        found, error = read(tmp_path / "x", whole[:size])
        good = [each for each in found if each in wanted]
        assert len(good) >= most, size
        most = len(good)
        if error is not None:
            cut += 1
            assert error.offset is None or error.offset <= size
            assert error.offset is not None or size < 32
        if size == 0:
            assert str(error) == "empty file"
    assert cut > len(whole) // 3
    if name in PLAIN:  # a zstd block is whole or not there
        assert most >= len(wanted) - 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_bit_may_be_wrong(tmp_path: Path, files: dict[str, bytes], name: str):
    """Something is said, or something else is read; never another exception."""
    whole = files[name]
    random_bits = random.Random(8)
    errors = 0
    for _ in range(300):
        place = random_bits.randrange(len(whole))
        data = bytearray(whole)
        data[place] ^= 1 << random_bits.randrange(8)
        try:
            _, error = read(tmp_path / "x", bytes(data))
        except UnknownNetwork:
            continue
        errors += error is not None
    assert errors or name in ("x.pcap", "core")


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_anything_may_stand_in_a_file(
    files: dict[str, bytes], tmp_path_factory, data: st.DataObject
):
    """Pieces of captures, of one format or several, with anything between."""
    pieces = []
    for _ in range(data.draw(st.integers(1, 4))):
        whole = files[data.draw(st.sampled_from(NAMES))]
        begin = data.draw(st.sampled_from([0, 0, data.draw(st.integers(0, len(whole)))]))
        end = data.draw(st.integers(begin, len(whole)))
        pieces += [whole[begin:end], data.draw(st.binary(max_size=60))]
    path = tmp_path_factory.mktemp("any") / "x"
    try:
        read(path, b"".join(pieces))
    except UnknownNetwork:
        pass
    except CaptureError:
        pytest.fail("it belongs after what was read")


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_two_files_one_after_the_other(
    tmp_path: Path, files: dict[str, bytes], first: str, second: str
):
    """The first is given, then it is said where something else begins; or both, where that is so.

    A pcapng may go on with another, as gzip and zstd may; lines are lines.
    """
    wanted, _ = read(tmp_path / "x", files[first])
    found, error = read(tmp_path / "x", files[first] + files[second])
    inside = first.removeprefix("x.").split(".")
    goes_on = first == second and first not in ("x.pcap", "x.pcap.zst")
    packed = first.endswith((".gz", ".zst"))
    if goes_on:
        assert error is None
        assert len(found) == 2 * len(wanted)
        return
    assert error is not None, inside
    if not packed:  # a pcapng begins with an empty line
        assert error.offset in (len(files[first]), len(files[first]) + (first == "x.ndjson"))
    assert messages(found)[: len(messages(wanted))] == messages(wanted)
    assert len(found) <= len(wanted) + 1


HOSTILE = {
    "a block of 4 GiB": build_block(pcapng.SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    + struct.pack("<II", 6, 0xFFFFFFFC),
    "a packet of 4 GiB": struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 101)
    + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 0xFFFFFFFF),
    "a message of 4 GiB": struct.pack("<Q12sI", 1, b"ping", 8)
    + bytes(8)
    + struct.pack("<Q12sI", 1, b"block", 0xFFFFFFFF),
    "a window of 2 GiB": b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00",
    "a frame of 4 GiB to be skipped": b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00"
    b"\x50\x2a\x4d\x18\xff\xff\xff\xff",
    "a block that cannot be": b"\x28\xb5\x2f\xfd\x00\x58\xfd\xff\xff" + bytes(1 << 21),
}


@pytest.mark.slow
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_length_is_not_believed(tmp_path: Path, data: bytes):
    """What a file claims is not allocated for."""
    (tmp_path / "x").write_bytes(data)
    with tracing():
        _, error = read_until_error(tmp_path / "x", REGTEST)
        most = peak()
    assert error is not None
    assert most < 4 << 20


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_bomb_is_read_piece_by_piece(tmp_path: Path, suffix: str):
    """A megabyte that unpacks to a gigabyte of zeros is damage at its beginning."""
    head = (CAPTURES[0]).read_bytes()
    out = io.BytesIO()
    file: Any = (
        gzip.GzipFile(fileobj=out, mode="wb")
        if suffix == "gz"
        else zstandard.ZstdCompressor().stream_writer(out, closefd=False)
    )
    file.write(head)
    for _ in range(256):
        file.write(bytes(1 << 20))
    file.close()
    (tmp_path / "x").write_bytes(out.getvalue())
    wanted = entries_of(CAPTURES[0])
    with tracing():
        found, error = read_until_error(tmp_path / "x")
        most = peak()
    assert found == wanted
    assert error is not None
    assert "in the decompressed data" in str(error)
    assert error.offset == len(head)
    assert most < 30 << 20


def test_all_before_damage_in_a_packed_file_is_given(tmp_path: Path):
    """Of gzip to the byte; of zstd to the block. The place is one of the packed file."""
    whole = CAPTURES[1].read_bytes()
    wanted = entries_of(CAPTURES[1])
    packed = gzip.compress(whole)
    place = len(packed) // 2
    unpacker = __import__("zlib").decompressobj(31)
    before = len(unpacker.decompress(packed[:place]))
    path = tmp_path / "x.pcap.gz"
    path.write_bytes(packed[:place])
    found, error = read_until_error(path)
    assert error is not None
    assert str(error) == f"the gzip stream is cut (at byte {place:,} of the file)"
    (tmp_path / "y.pcap").write_bytes(whole[:before])
    unpacked, _ = read_until_error(tmp_path / "y.pcap")
    assert found == unpacked
    assert 0 < len(found) < len(wanted)

    packed = gzip.compress(whole, mtime=0)
    data = bytearray(packed)
    data[-6] ^= 1  # the checksum
    path.write_bytes(data)
    found, error = read_until_error(path)
    assert found == wanted
    assert error is not None
    assert "damaged" in str(error)
    assert error.offset is not None
    assert len(packed) - 8 <= error.offset < len(packed)

    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    blocks = [
        stream.compress(whole[at : at + 20_000]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(whole), 20_000)
    ]
    size = len(b"".join(blocks[:6]))
    packed = b"".join(blocks) + stream.flush()
    path = tmp_path / "x.pcap.zst"
    path.write_bytes(packed)
    assert entries_of(path) == wanted
    (tmp_path / "y.pcap").write_bytes(whole[:120_000])
    unpacked, _ = read_until_error(tmp_path / "y.pcap")
    for data in (packed[: size + 100], packed[:size] + b"\xff" * 100 + packed[size + 100 :]):
        path.write_bytes(data)
        found, error = read_until_error(path)
        assert found == unpacked
        assert error is not None
        assert error.offset == size


def test_zstd_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is an extra."""
    path = converted(CAPTURES[0], tmp_path, "x.pcap.zst")
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    _, error = read_until_error(path)
    assert error is not None
    assert error.offset is None
    assert str(error) == "zstd needs the package zstandard: pip install 'lbcproxy[zstd]'"


def test_frames_of_zstd_that_are_to_be_skipped_are(tmp_path: Path):
    """Pzstd writes them; several frames are one file."""
    whole = CAPTURES[0].read_bytes()
    skipped = b"\x53\x2a\x4d\x18\x05\0\0\0hello"
    parts = [zstandard.compress(whole[:50_000]), skipped, zstandard.compress(whole[50_000:])]
    path = tmp_path / "x"
    path.write_bytes(b"".join(parts))
    assert entries_of(path) == entries_of(CAPTURES[0])
    path.write_bytes(b"".join(parts)[: len(parts[0]) + 10])
    _, error = read_until_error(path)
    assert error is not None


NOTES = [
    '"session":[]',
    '"session":{"a":1}',
    '"session":-5',
    '"session":1e400',
    '"session":99999999999999999999999',
    '"trail":5',
    '"verdict":5',
    '"verdict":"inject"',
    '"verdict":"rewrite","number":[]',
    '"missing":"x"',
    '"leg":"side"',
    '"upstream":5',
    '"upstream":"[::1"',
    '"network":[]',
    '"protocol_version":-1,"continued":true',
    '"x":' + "[" * 20_000 + "]" * 20_000,
    '"x":' + "[" * 60_000,
]


@pytest.mark.parametrize("note", NOTES, ids=range(len(NOTES)))
@pytest.mark.parametrize(
    "where",
    [
        '"session":1,"leg":"client"',
        '"session":1,"leg":"upstream"',
        '"verdict":"drop"',
        '"changes":true',
    ],
)
def test_notes_may_say_anything(tmp_path: Path, where: str, note: str):
    """A custom option is text of somebody's: what is not as it should be is not there."""
    data = record(tmp_path / "a.pcapng", TALK).read_bytes()
    blocks, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        blocks.append(with_note(data[place : place + size], where, note))
        place += size
    path = tmp_path / "b.pcapng"
    path.write_bytes(b"".join(blocks))
    read_until_error(path)


def with_note(block: bytes, where: str, note: str) -> bytes:
    """Put something else into the text of a block."""
    begin = block.find(b'{"schema"')
    if begin < 0 or where.encode() not in block:
        return block
    text = b'{"schema":"lbcproxy/1",' + note.encode() + b"}"
    option = begin - 8  # code, length, number, text
    end = option + 4 + int.from_bytes(block[option + 2 : option + 4], "little")
    end += -end % 4
    new = build_options((pcapng.OPTION_CUSTOM, pcapng.PEN.to_bytes(4, "little") + text))
    body = block[8:option] + new + block[end:-4]
    return build_block(int.from_bytes(block[:4], "little"), body)
