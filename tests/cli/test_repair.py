"""`lbcproxy repair`: recover what is readable, report what was cut, damage nothing."""

import io
import re
import struct

import pytest

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.capture.formats import pcapng, read_packets
from lbcproxy.capture.packet import Packet
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import get
from lbcproxy.session import Session, SessionInfo
from tests.session.feed import Feed
from tests.tools import tshark


@pytest.fixture
def own(captures, tmp_path):
    """A capture of ours, as bytes: the sync, recorded by our writer."""
    path = tmp_path / "own.pcapng"
    info = SessionInfo(
        number=1,
        network="lbry-regtest",
        client=Endpoint("127.0.0.1", 40000),
        listen=Endpoint("127.0.0.1", 9246),
        upstream=Endpoint("127.0.0.1", 9247),
    )
    with path.open("ab") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest"))
        session = Session(1, get("lbry-regtest"))
        recorder.started(info, 1_000)
        for entry in open_capture(captures / "lbcd-sync.pcap"):
            deliveries = session.receive(entry.direction, entry.raw, entry.time_ns)
            recorder.passed(info, entry.direction, deliveries, entry.time_ns)
    return path


def packets_of(data):
    """The packets in the bytes of a file."""
    return [each for each in read_packets(io.BytesIO(data)) if isinstance(each, Packet)]


def test_a_torn_tail_is_cut_off_in_place(lbcproxy, own):
    """Bytes and place are said; messages before it are all there."""
    whole = own.read_bytes()
    raws = [entry.raw for entry in open_capture(own)]
    own.write_bytes(whole[:-30])
    ended = lbcproxy("repair", own)
    assert (ended.code, ended.err) == (0, "")
    left = own.stat().st_size
    cut = len(whole) - 30 - left
    packets = len(tshark("-r", str(own)).splitlines())
    torn, done = ended.lines
    assert torn == f"torn tail: {cut:,} bytes at byte {left:,}: the last block is cut"
    left_over = f"{packets:,} packets, {left:,} bytes, are left."
    assert done == f"Cut {cut:,} bytes off {own} at byte {left:,}: {left_over}"
    assert own.read_bytes() == whole[:left]
    assert [entry.raw for entry in open_capture(own)] == raws[:-1]
    again = lbcproxy("repair", own)
    assert again.out == f"{own} is intact: {packets:,} packets, {left:,} bytes.\n"


def test_a_classic_capture_is_cut_too(lbcproxy, captures, tmp_path):
    """Tcpdump dies as we do."""
    whole = (captures / "lbcd-sync.pcap").read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole[:100_000])
    assert lbcproxy("show", path).code == 3
    ended = lbcproxy("repair", path)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(
        r"torn tail: [\d,]+ bytes at byte [\d,]+: the last packet is cut: [\d,]+ of [\d,]+ bytes",
        ended.lines[0],
    )
    assert path.read_bytes() == whole[: path.stat().st_size]
    assert lbcproxy("show", path).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pcapng", "pcap"])
def test_damage_in_the_middle_is_not_touched_without_a_new_file(
    lbcproxy, own, captures, tmp_path, form
):
    """In place, only what a crash leaves is cut. With `-o`, all before and after is kept."""
    path = own if form == "pcapng" else tmp_path / "hurt.pcap"
    whole = (own if form == "pcapng" else captures / "lbcd-sync.pcap").read_bytes()
    raws = [entry.raw for entry in open_capture(captures / "lbcd-sync.pcap")]
    place = next(each.offset for each in packets_of(whole) if each.offset > 50_000)
    hurt = whole[:place] + b"\xff" * 200 + whole[place + 200 :]
    path.write_bytes(hurt)
    ended = lbcproxy("repair", path)
    assert ended.code == 3
    assert re.match(rf"damage: [\d,]+ bytes at byte {place:,}: ", ended.out)
    assert ended.err == (
        f"lbcproxy: {path} is damaged before its end: nothing was changed\n"
        "Hint: -o OUT writes everything readable to a new file\n"
    )
    assert path.read_bytes() == hurt
    out = tmp_path / "out"
    ended = lbcproxy("repair", path, "-o", out)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(rf"Wrote [\d,]+ packets, [\d,]+ bytes, to {out}\.", ended.lines[-1])
    assert path.read_bytes() == hurt
    capture = open_capture(out)
    entries = list(capture)
    found = [entry.raw for entry in entries if entry.message is not None]
    assert len(raws) - 20 < len(found) < len(raws)
    assert set(found) <= set(raws)
    assert found[-50:] == raws[-50:]
    assert sum(bool(entry.missing) for entry in entries) == 1
    tshark("-r", str(out))


def test_the_output_must_not_exist(lbcproxy, own, tmp_path):
    """Exit code 1, nothing is written."""
    out = tmp_path / "notes"
    out.write_text("important")
    ended = lbcproxy("repair", own, "-o", out)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"lbcproxy: {out} exists: it is not overwritten\n"
    assert out.read_text() == "important"
    assert lbcproxy("repair", own, "-o", own).code == 1


def test_an_intact_file_is_copied_too(lbcproxy, own, tmp_path):
    """A script finds what it asked for."""
    out = tmp_path / "copy.pcapng"
    assert lbcproxy("repair", own, "-o", out).code == 0
    assert out.read_bytes() == own.read_bytes()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file or directory"),
        (b"", "empty file"),
        (b"just a text of some length", "not a capture: it begins with 6a757374"),
        (pcapng.SECTION.to_bytes(4) + bytes(20), "without a byte order"),
        (struct.pack("<IHH", 0xA1B2C3D4, 2, 4), "the file header is cut"),
    ],
    ids=["absent", "empty", "text", "no byte order", "half a header"],
)
def test_an_unrepairable_file_is_left_alone(lbcproxy, tmp_path, content, text):
    """With a word on why."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    ended = lbcproxy("repair", path)
    assert ended.code in (1, 3)
    assert text in ended.out + ended.err
    if content is not None:
        assert path.read_bytes() == content
