"""What others wrote into a pcapng beside its packets: kept with the message, or counted."""

import struct

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.formats import pcapng, read_packets
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from tests.capture.roundtrip import CAPTURES
from tests.tools import CASES

ENDS = bytes(4)


def block(kind, body):
    """Return a block of pcapng."""
    return build_block(kind, body)


def commented(folder, comments, extra=()):
    """Write a case as others do, with comments by the packet's number, and more blocks."""
    out = folder / "foreign.pcapng"
    parts = [
        block(
            pcapng.SECTION,
            struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
            + build_options((3, b"some system"), (pcapng.OPTION_COMMENT, b"of the file"))
            + ENDS,
        ),
        block(
            pcapng.INTERFACE,
            struct.pack("<HHI", 101, 0, 0) + build_options((2, b"eth0"), (9, b"\x09")) + ENDS,
        ),
        *extra,
    ]
    with (CASES / "rejnohash.pcap").open("rb") as file:
        for number, packet in enumerate(read_packets(file)):
            said = [(pcapng.OPTION_COMMENT, each.encode()) for each in comments.get(number, ())]
            said += [(2, bytes(4)), (2988, struct.pack("<I", 7) + b"theirs")] if said else []
            high, low = divmod(packet.time_ns, 1 << 32)
            size = len(packet.data)
            body = struct.pack("<IIIII", 0, high, low, size, size) + packet.data
            body += bytes(-size % 4) + (build_options(*said) + ENDS if said else b"")
            parts.append(block(pcapng.ENHANCED_PACKET, body))
    out.write_bytes(b"".join(parts))
    return out


def comments_of(path):
    """Return the comments of each entry that has some, by its command."""
    return [(each.command, each.comments) for each in open_capture(path) if each.comments]


def places(path):
    """Return the numbers of packets that hold data."""
    with path.open("rb") as file:
        return [n for n, each in enumerate(read_packets(file)) if len(each.data) > 40]


FIRST, SECOND, *_ = places(CASES / "rejnohash.pcap")
SAID = {FIRST: ["look here", "and here \x1b[31m"], SECOND: ["zwölf"]}
KEPT = [("version", ("look here", "and here \x1b[31m")), ("version", ("zwölf",))]


@pytest.mark.parametrize("name", ["x.pcapng", "x.ndjson", "x.pcapng.gz"])
@pytest.mark.parametrize("command", ["convert", "cut", "merge"])
def test_comments_of_packets_stay_with_their_message(lbcproxy, tmp_path, command, name):
    """However often it is written again; Wireshark shows them in a pcapng."""
    path, out, again = commented(tmp_path, SAID), tmp_path / name, tmp_path / "again.pcapng"
    assert comments_of(path) == KEPT
    first = ("-q", path, "-w", out) if command == "merge" else (path, out)
    assert lbcproxy(command, *first).code == 0
    assert comments_of(out) == KEPT
    assert lbcproxy("convert", out, again).code == 0
    assert comments_of(again) == KEPT
    with again.open("rb") as file:
        texts = [text for each in read_packets(file) for text in getattr(each, "comments", ())]
    for words in ("look here", "zwölf"):
        assert any(words in each for each in texts)


def test_comments_that_are_not_kept_are_counted(lbcproxy, tmp_path):
    """Each kind of it, with how often."""
    extra = (block(4, ENDS), block(10, bytes(8)), block(0x0BAD, struct.pack("<I", 7)))
    path = commented(tmp_path, {0: ["of a SYN"], **SAID}, extra)
    out = tmp_path / "x.pcapng"
    ended = lbcproxy("convert", path, out)
    assert ended.code == 0
    assert [line.removeprefix(f"lbcproxy: {path}: ") for line in ended.err.splitlines()] == [
        "blocks of names are not kept: 1",
        "blocks of secrets are not kept: 1",
        "comments of packets without data are not kept: 1",
        "custom blocks are not kept: 1",
        "options of interfaces are not kept: 1",
        "options of packets are not kept: 6",
        "options of sections are not kept: 1",
    ]
    assert (
        "comments of the file are not kept: 1"
        in lbcproxy("merge", path, "-w", "-", "-F", "ndjson").err
    )


@pytest.mark.parametrize("name", ["x.pcap", "core"])
def test_formats_without_comments_say_so(lbcproxy, tmp_path, name):
    """As of anything they lack."""
    path = commented(tmp_path, SAID)
    form = ("-F", "core") if name == "core" else ()
    assert (
        "cannot hold comments of messages: 3"
        in lbcproxy("convert", path, tmp_path / name, *form).err
    )


def test_anonymised_captures_have_none(lbcproxy, tmp_path):
    """They may contain anything about anyone."""
    path, out = commented(tmp_path, SAID), tmp_path / "x.pcapng"
    ended = lbcproxy("anonymise", path, out)
    assert "comments of messages 3" in ended.out
    assert not comments_of(out)
    assert b"look here" not in out.read_bytes()


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_captures_without_comments_report_nothing(lbcproxy, tmp_path, path):
    """What is kept by other means is not said to be lost."""
    out = tmp_path / "x.pcapng"
    assert lbcproxy("convert", path, out).err == ""
    assert lbcproxy("convert", out, tmp_path / "again.pcapng").err == ""
