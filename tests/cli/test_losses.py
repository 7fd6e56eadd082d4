"""Losses in a capture are reported when it is read, in every format that can hold them."""

import errno
import json
import os
import struct

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import Recorder, Recording, RecordingSettings, open_capture
from lbcproxy.capture.formats import pcapng, read_packets
from lbcproxy.capture.recording.file import RETRY_INTERVAL
from lbcproxy.capture.tools.summary import summarise
from lbcproxy.capture.writing.notes import lost_block
from lbcproxy.capture.writing.pcapng_blocks import build_block, build_options
from lbcproxy.session import Lost
from lbcproxy.session.events import NotRecorded
from tests.capture.fake_sessions import DOWN, MIDNIGHT, NETWORK, UP, FakeSessions, ping

SAID = "lbcproxy: 2 messages (64 bytes of capture) were not recorded\n"


class Disk:
    """A disk that accepts a number of bytes in total, and a recording on it."""

    def __init__(self, folder, monkeypatch, *, changes=False):
        self.room = 1 << 30
        monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", self.write_all)
        self.background = Background(1 << 24)
        self.said = []
        self.path = folder / "x.pcapng"
        self.recording = Recording(
            RecordingSettings(pattern=str(self.path)),
            self.background,
            lambda text, bad: self.said.append(text),
            network=NETWORK.id,
            name="main",
            changes=changes,
            now=lambda: MIDNIGHT,
        )
        self.recording.open()
        self.play = FakeSessions(self.recording)

    def write_all(self, descriptor, parts):
        data = b"".join(parts)
        self.room -= os.write(descriptor, data[: self.room])
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")

    def drain(self):
        assert self.background.drain(10)

    def close(self):
        """Have everything on the disk that it takes."""
        self.recording.close()
        assert self.background.close(10)
        return self.path


def lost_in(path):
    """Return what a file says that it lacks."""
    capture = open_capture(path)
    list(capture)
    return capture.stats.lost.messages, capture.stats.lost.size, capture.stats.lost.packets


def test_lost_sessions_and_ends_are_reported(lbcproxy, tmp_path, monkeypatch):
    """950 lost messages were once reported by `run`, while `info` said "gaps none"."""
    disk = Disk(tmp_path, monkeypatch)
    disk.play.start(1)
    disk.play.receive(1, ping(1))
    disk.drain()
    disk.room = 0
    disk.play.receive(1, ping(2))  # the end of one session, and all of another
    disk.play.end(1)
    disk.play.start(2)
    for number in range(50):
        disk.play.receive(2, ping(number), DOWN)
    disk.play.end(2)
    disk.drain()
    disk.room = 1 << 20
    path = disk.close()
    lost = disk.recording.lost
    assert lost.messages == 51
    assert lost_in(path) == (51, lost.size, 0)
    shown = lbcproxy("info", path)
    assert shown.code == 0
    assert f"lost      51 messages, {lost.size:,} bytes of capture\n" in shown.out
    words = f"51 messages ({lost.size:,} bytes of capture) were not recorded\n"
    assert shown.err.endswith(words)
    listed = lbcproxy("show", path)
    assert listed.code == 0
    assert listed.err == f"lbcproxy: {words}"
    assert len(listed.out.splitlines()) == 1
    as_lines = lbcproxy("show", path, "-T", "ndjson")
    assert as_lines.err == f"lbcproxy: {words}"
    notices = json.loads(lbcproxy("info", path, "-T", "json").out)
    assert notices["lost"] == {"messages": 51, "bytes": lost.size, "packets": 0}
    [loss] = notices["losses"]
    assert (loss["messages"], loss["bytes"]) == (51, lost.size)


@pytest.mark.parametrize("changes", [False, True])
def test_a_session_whose_beginning_is_lost_is_one_session(tmp_path, monkeypatch, changes):
    """Its legs were taken for two, with the same messages in both."""
    disk = Disk(tmp_path, monkeypatch, changes=changes)
    file, seconds = disk.recording.last, [0.0]
    file._clock = lambda: seconds[0]
    disk.play.start(1)
    disk.play.receive(1, ping(1))
    disk.drain()
    disk.room = 0
    disk.play.start(2, version=60_001)
    disk.play.receive(2, ping(2))
    disk.drain()
    disk.room, seconds[0] = 1 << 20, RETRY_INTERVAL
    for number, way in enumerate((UP, DOWN, DOWN, UP), 3):
        disk.play.receive(2, ping(number) + ping(100 + number), way)
        disk.play.receive(1, ping(200 + number), way)
        disk.drain()
    disk.play.end(1)
    disk.play.end(2)
    path = disk.close()
    reports = []
    capture = open_capture(path)
    capture.on_session_ended = reports.append
    held = {1: [], 2: []}
    for entry in capture:
        if not entry.missing:
            held[entry.session].append(entry.raw)
    numbers = range(3, 7)
    assert held[1] == [ping(1), *(ping(200 + number) for number in numbers)]
    assert held[2] == [ping(each) for number in numbers for each in (number, 100 + number)]
    notices = {each.number: (each.begun, each.upstream) for each in reports}
    assert notices == {1: (True, "10.0.0.3:9246"), 2: (False, "10.0.0.3:9246")}


def test_an_offline_replay_reports_the_same_losses(lbcproxy, tmp_path):
    """`replay offline -w`."""
    path = with_losses(tmp_path / "x.pcapng", *[LOSSES[0]] * 150)
    shown = lbcproxy("replay", "offline", path, "-w", tmp_path / "y.pcapng", "-q")
    assert shown.code == 0, shown.err
    assert lost_in(tmp_path / "y.pcapng") == (300, 150 * 64, 0)


@pytest.mark.parametrize("spare", [0, 3, 20, 59, 100, 200])
def test_a_disk_that_stays_full_still_records_the_loss(tmp_path, monkeypatch, spare):
    """The last packet makes room: a file that does not tell what it lacks is worse."""
    disk = Disk(tmp_path, monkeypatch)
    disk.play.start(1)
    for number in range(10):
        disk.play.receive(1, ping(number))
    disk.drain()
    size = disk.path.stat().st_size

    def write_all(descriptor, parts):
        data = b"".join(parts)
        room = size + spare - os.fstat(descriptor).st_size
        os.write(descriptor, data[:room])
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", write_all)
    for number in range(10, 30):
        disk.play.receive(1, ping(number) * 3)
    disk.drain()
    path = disk.close()
    assert path.stat().st_size <= size + spare
    capture = open_capture(path)
    held = [entry.raw for entry in capture]
    assert held == [ping(number) for number in range(len(held))]
    assert len(held) >= 5
    assert capture.stats.lost.messages == 60
    assert capture.stats.lost.size == disk.recording.lost.size


def test_each_loss_counts_once(tmp_path, monkeypatch):
    """Other programs want the sum in the last block; ours adds up what is said in each."""
    disk = Disk(tmp_path, monkeypatch)
    file = disk.recording.last
    file._clock = lambda: disk.now
    disk.now = 0.0
    disk.play.start(1)
    for number in range(3):
        disk.play.receive(1, ping(3 * number))
        disk.drain()
        disk.room = 0
        disk.play.receive(1, ping(3 * number + 1))
        disk.drain()
        disk.room, disk.now = 1 << 20, disk.now + RETRY_INTERVAL
        disk.play.receive(1, ping(3 * number + 2))
        disk.drain()
    path = disk.close()
    assert lost_in(path)[0] == 3
    assert dropped_counts(path) == [1, 2, 3]


def dropped_counts(path):
    """Return what other programs read."""
    with path.open("rb") as file:
        found = [each for each in pcapng.read(file) if isinstance(each, pcapng.Statistics)]
    return [each.dropped for each in found]


# In all formats.


def with_losses(path, *losses):
    """Write a capture of ours that lacks something in its middle."""
    parts = []
    play = FakeSessions(Recorder(parts.append, network=NETWORK.id))
    play.start(1)
    play.receive(1, ping(1))
    parts += [lost_block(each, MIDNIGHT + 5_000_000) for each in losses]
    play.receive(1, ping(2))
    play.end(1)
    path.write_bytes(b"".join(parts))
    return path


LOSSES = (Lost(messages=2, size=64, why="a full disk"), Lost(packets=7))


@pytest.mark.parametrize("suffix", ["pcapng", "ndjson", "pcapng.gz"])
def test_what_is_missing_survives_in_every_format_that_can_say_it(lbcproxy, tmp_path, suffix):
    """There and back, at its place."""
    path = with_losses(tmp_path / "x.pcapng", *LOSSES)
    there, back = tmp_path / f"y.{suffix}", tmp_path / "z.pcapng"
    for source, target in ((path, there), (there, back)):
        assert lbcproxy("convert", source, target).code == 0
    for each in (path, there, back):
        found = [
            event.lost for event in open_capture(each).events() if isinstance(event, NotRecorded)
        ]
        assert found == list(LOSSES)
        assert lost_in(each) == (2, 64, 7)


@pytest.mark.parametrize("suffix", ["pcap", "core"])
def test_what_a_format_cannot_say_is_counted(lbcproxy, tmp_path, suffix):
    """Nothing is left out silently."""
    path = with_losses(tmp_path / "x.pcapng", *LOSSES)
    target = tmp_path / "y.pcap" if suffix == "pcap" else tmp_path / "y"
    shown = lbcproxy("convert", path, target, "-F", suffix)
    assert shown.code == 0
    assert f"lbcproxy: {suffix} cannot hold counts of what was not recorded: 2\n" in shown.err
    assert "2 messages (64 bytes of capture) and 7 packets were not recorded" in shown.err


@pytest.mark.parametrize("command", ["cut", "merge", "anonymise", "convert"])
def test_every_command_reports_and_preserves_losses(lbcproxy, tmp_path, command):
    """Whatever is made of a capture that lacks something lacks it too."""
    path = with_losses(tmp_path / "x.pcapng", LOSSES[0])
    out = tmp_path / "y.pcapng"
    shown = lbcproxy(command, path, *(["-w", out] if command == "merge" else [out]))
    assert shown.code == 0, shown.err
    assert SAID in shown.err
    assert lost_in(out) == (2, 64, 0)


# Of others.


def block(kind, body):
    """Make a block."""
    return build_block(kind, body)


def option(code, count):
    """Make an option that counts."""
    return struct.pack("<HHQ", code, 8, count)


def statistics(interface=0, **counts):
    """Make a block of statistics, as dumpcap writes one at its end."""
    codes = {"received": 4, "dropped": 5, "accepted": 6, "system": 7, "delivered": 8}
    options = b"".join(option(codes[name], count) for name, count in counts.items())
    return block(5, struct.pack("<III", interface, 0, 1_000_000) + options + bytes(4))


def packet(data, dropped=None):
    """Make a packet, with a drop count."""
    head = struct.pack("<IIIII", 0, 0, 1_000_000, len(data), len(data))
    options = b"" if dropped is None else option(4, dropped) + bytes(4)
    return block(6, head + data + bytes(-len(data) % 4) + options)


HEAD = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(
    1, struct.pack("<HHI", 101, 0, 0)
)


def foreign(lbcproxy, path, *blocks):
    """Write a file of others, around a conversation of ours without notes."""
    pcap = path.with_suffix(".pcap")
    assert lbcproxy("convert", with_losses(path.with_name("own.pcapng")), pcap).code == 0
    with pcap.open("rb") as file:
        packets = [packet(each.data) for each in read_packets(file)]
    path.write_bytes(HEAD + b"".join([*packets, *blocks]))
    return path


@pytest.mark.parametrize(
    ("blocks", "packets"),
    [
        ([statistics(received=100, dropped=12)], 12),
        ([statistics(dropped=3, system=4)], 7),
        ([statistics(dropped=3), statistics(dropped=10)], 10),  # counted from the beginning
        ([statistics(received=100, dropped=0, system=0)], 0),
        ([packet(b"", 5), packet(b"", 6)], 11),
        ([packet(b"", 5), statistics(dropped=8)], 8),  # the same packets are among them
        ([block(2, struct.pack("<HHIIII", 0, 9, 0, 0, 0, 0))], 9),
        ([block(2, struct.pack("<HHIIII", 0, 0xFFFF, 0, 0, 0, 0))], 0),
        ([statistics(dropped=3), HEAD, statistics(dropped=2)], 5),
        ([statistics(dropped=2**64 - 1)], 2**62 - 1),
        ([block(5, b"")], 0),
        ([statistics(interface=9, dropped=3)], 0),
    ],
)
def test_drop_counts_of_other_programs_are_reported(lbcproxy, tmp_path, blocks, packets):
    """As dumpcap and tcpdump leave them."""
    path = foreign(lbcproxy, tmp_path / "x.pcapng", *blocks)
    assert lost_in(path) == (0, 0, packets)
    shown = lbcproxy("info", path)
    assert shown.code == 0
    words = f"{packets:,} packets were not recorded"
    assert (words in shown.err) is bool(packets)
    listed = lbcproxy("show", path)
    assert listed.code == 0
    assert len(listed.out.splitlines()) == 2
    assert (words in listed.err) is bool(packets)


def test_all_counters_of_an_interface_are_reported(lbcproxy, tmp_path):
    """Anyone who looks for a loss wants to know where it was."""
    said = statistics(received=100, dropped=12, accepted=88)
    path = foreign(lbcproxy, tmp_path / "x.pcapng", said)
    shown = lbcproxy("info", path)
    assert "of interface 0: 100 received, 12 dropped by the interface, 88 passed a filter" in (
        shown.out
    )
    [counters] = json.loads(lbcproxy("info", path, "-T", "json").out)["counters"]
    assert counters == {
        "section": 1,
        "interface": 0,
        "received": 100,
        "dropped": 12,
        "accepted": 88,
        "dropped_by_system": None,
        "delivered": None,
    }


def test_what_is_listed_is_bounded(tmp_path):
    """A file may contain a million of them."""
    path = with_losses(tmp_path / "x.pcapng", *[Lost(messages=1, size=1)] * 500)
    notices = summarise(open_capture(path)).to_dict()
    assert notices["lost"]["messages"] == 500
    assert len(notices["losses"]) == 100


@pytest.mark.parametrize(
    "note", ['{"lost":{"messages":-1}}', '{"lost":[]}', '{"lost":{"bytes":1e99}}', "["]
)
def test_a_note_may_say_anything(tmp_path, note):
    """It is read as if it were not there."""
    text = note.replace("{", '{"schema":"lbcproxy/1",', 1).encode()
    body = struct.pack("<III", 0, 0, 0) + build_options(
        (2988, pcapng.PEN.to_bytes(4, "little") + text)
    )
    path = with_losses(tmp_path / "x.pcapng")
    path.write_bytes(path.read_bytes() + block(5, body + bytes(4)))
    assert len(list(open_capture(path))) == 2
    assert lost_in(path) == (0, 0, 0)
