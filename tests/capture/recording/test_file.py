"""The file a recorder writes to: never written over, whole after every write, honest about loss."""

import errno
import os
import sys
import threading

import pytest

from lbcproxy.background import Background, write_all
from lbcproxy.capture import CaptureFile, Recorder, open_capture
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.file import RETRY_INTERVAL
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.writing.pcapng_blocks import build_block
from lbcproxy.errors import CaptureError
from tests.capture.recording.small_disk import SmallDisk
from tests.tools import TIMEOUT

HEAD = build_block(pcapng.SECTION, bytes(16))


class Disk(Background):
    """A disk that keeps the warnings of its files."""

    def __init__(self, most=1 << 20):
        super().__init__(most)
        self.warnings = []
        self.now = 0.0

    def file(self, path, **options):
        return CaptureFile(str(path), self, self.notify, clock=lambda: self.now, **options)

    def notify(self, text, bad):
        assert bad
        self.warnings.append(text)


@pytest.fixture
def disk():
    """Yield a disk, and end its thread."""
    disk = Disk()
    yield disk
    assert disk.close(10)


def test_new_file_and_its_folder_are_made(tmp_path, disk):
    """The first run of a newcomer has no captures/ yet."""
    file = disk.file(tmp_path / "captures" / "new.pcapng").open()
    Recorder(file.write, network="lbry-regtest")
    file.close()
    assert disk.drain(10)
    assert file.is_done
    assert list(open_capture(tmp_path / "captures" / "new.pcapng")) == []
    assert not file.continued
    assert (file.tail_size, file.initial_size, file.last_written_ns) == (0, 0, 0)


def test_existing_capture_is_continued_after_its_last_complete_block(tmp_path, disk):
    """A crash leaves a torn block; what is written after it would be unreadable."""
    path = tmp_path / "old.pcapng"
    with path.open("wb") as old:
        Recorder(old.write, network="lbry-regtest")
    whole = path.stat().st_size
    with path.open("ab") as old:
        old.write(b"\x06\0\0\0\x40\0\0\0torn")
    file = disk.file(path).open()
    assert (file.tail_size, file.continued) == (12, True)
    Recorder(file.write, network="lbry-regtest")
    file.close()
    assert disk.drain(10)
    assert path.stat().st_size == 2 * whole
    assert list(open_capture(path)) == []


def test_other_files_are_never_written_over(tmp_path, disk):
    """A mistyped -w must not cost somebody's notes."""
    path = tmp_path / "notes.txt"
    path.write_text("important" * 10)
    with pytest.raises(CaptureError, match="is not a pcapng: it is not overwritten"):
        disk.file(path).open()
    assert path.read_text() == "important" * 10


def test_a_file_has_one_writer(tmp_path, disk):
    """Two processes in one capture would tear each other's blocks."""
    first = disk.file(tmp_path / "x.pcapng").open()
    with pytest.raises(CaptureError, match="is being written by another process"):
        disk.file(tmp_path / "x.pcapng").open()
    other = disk.file(tmp_path / "x.pcapng", fresh=True).open()
    assert other.path == str(tmp_path / "x-2.pcapng")
    first.close()
    other.close()
    assert disk.drain(10)
    disk.file(tmp_path / "x.pcapng").open().close()


def test_a_fresh_file_takes_the_next_free_name(tmp_path, disk):
    """Two files that begin in the same second do not collide, nor does an existing one."""
    (tmp_path / "x.pcapng").write_bytes(HEAD)
    (tmp_path / "x-2.pcapng").write_bytes(HEAD)
    file = disk.file(tmp_path / "x.pcapng", fresh=True)
    file.write(HEAD)
    file.close()
    assert disk.drain(10)
    assert file.path == str(tmp_path / "x-3.pcapng")
    assert (tmp_path / "x-3.pcapng").read_bytes() == HEAD


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_name_whose_file_was_compressed_is_not_free(tmp_path, disk, fresh, suffix):
    """Else the next could not be compressed; one that is there itself is continued."""
    (tmp_path / f"x.pcapng{suffix}").write_text("packed")
    file = disk.file(tmp_path / "x.pcapng", fresh=fresh).open()
    assert file.path == str(tmp_path / "x-2.pcapng")
    file.close()
    assert [each.name for each in tmp_path.glob("x.*")] == [f"x.pcapng{suffix}"]
    Recorder((tmp_path / "x.pcapng").write_bytes, network="lbry-regtest")
    file = disk.file(tmp_path / "x.pcapng").open()
    assert (file.path, file.continued) == (str(tmp_path / "x.pcapng"), True)
    file.close()


def test_on_closed_is_called_with_a_complete_file(tmp_path, disk):
    """Once, after the last write."""
    whole = []
    file = disk.file(tmp_path / "x.pcapng", on_closed=lambda each: whole.append(each.path))
    file.write(HEAD)
    assert whole == []
    file.close()
    assert disk.drain(10)
    assert whole == [str(tmp_path / "x.pcapng")]


def test_place_that_cannot_be_written_is_named(tmp_path, disk):
    """The text says which path, and what the system says."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match="cannot write .*file/x.pcapng"):
        disk.file(tmp_path / "file" / "x.pcapng").open()


def test_a_file_that_was_moved_away_is_noticed(tmp_path, disk):
    """As log rotation does it."""
    file = disk.file(tmp_path / "x.pcapng").open()
    assert not file.is_moved
    (tmp_path / "x.pcapng").rename(tmp_path / "y.pcapng")
    assert file.is_moved
    (tmp_path / "x.pcapng").write_text("another")
    assert file.is_moved
    file.close()


class FullDisk:
    """A disk that takes some bytes, then no more, until it is given room."""

    def __init__(self, room):
        self.room = room

    def write_all(self, descriptor, parts):
        for part in parts:
            self.room -= os.write(descriptor, part[: self.room])
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def lay(monkeypatch):
    """Put all files on a disk of another kind."""

    def lay(disk):
        monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", disk.write_all)
        return disk

    return lay


def put(disk, file, data, messages=0):
    """Write and wait."""
    file.messages = messages
    file.write(data)
    assert disk.drain(10)


def test_a_full_disk_is_said_once_and_tried_again(tmp_path, disk, lay):
    """Traffic goes on; no block is torn; what is missing is counted, and the file says so."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    full = lay(FullDisk(len(HEAD) + 10))
    put(disk, file, HEAD)
    put(disk, file, b"12345678", 1)
    put(disk, file, b"abcdefgh", 2)
    put(disk, file, b"ijkl", 1)
    assert path.read_bytes() == HEAD + b"12345678"
    [said] = disk.warnings
    assert said == f"recording into {path} fails: No space left on device"
    assert (file.lost.messages, file.lost.size) == (3, 12)
    full.room = 1000
    put(disk, file, b"too soon", 1)
    assert path.read_bytes() == HEAD + b"12345678"
    disk.now += RETRY_INTERVAL
    put(disk, file, b"again", 1)
    block = path.read_bytes()[len(HEAD) + 8 : -5]
    assert build_block(5, block[8:-4]) == block
    assert b"4 messages (20 bytes of capture) were not recorded before this" in block
    assert path.read_bytes().endswith(b"again")
    assert disk.warnings[1:] == [
        f"recording into {path} goes on: 4 messages (20 bytes of capture) were not recorded"
    ]
    assert str(file.lost) == "4 messages (20 bytes of capture) were not recorded"
    file.close()


def test_a_file_begins_with_its_head_however_late(tmp_path, disk, lay):
    """Without it nothing after it could be read."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    full = lay(FullDisk(0))
    put(disk, file, HEAD)
    put(disk, file, b"lost", 1)
    full.room = 1000
    disk.now += RETRY_INTERVAL
    put(disk, file, b"kept", 1)
    assert path.read_bytes().startswith(HEAD + (5).to_bytes(4, "little"))
    assert path.read_bytes().endswith(b"kept")
    file.close()


def test_the_end_of_a_file_says_what_is_missing(tmp_path, disk, lay):
    """When the disk has room again by then."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    full = lay(FullDisk(len(HEAD) + 1))
    put(disk, file, HEAD)
    put(disk, file, b"lost", 7)
    full.room = 1000
    file.close()
    assert disk.drain(10)
    assert b"7 messages (4 bytes of capture) were not recorded before this" in path.read_bytes()


class Stuck:
    """A pipe that nobody reads."""

    def __init__(self):
        self.asked = threading.Event()
        self.end = threading.Event()

    def write_all(self, descriptor, parts):
        self.asked.set()
        self.end.wait(TIMEOUT)
        write_all(descriptor, parts)


def test_a_disk_that_hangs_holds_nobody_up(tmp_path, lay):
    """What it does not take in time is lost and said; it goes on when half of it is free."""
    disk = Disk(1000)
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    stuck = lay(Stuck())
    file.write(HEAD)
    assert stuck.asked.wait(TIMEOUT)
    file.write(bytes(600))
    file.messages = 3
    file.write(bytes(600))
    file.write(b"small, but there is no going on yet")
    assert len(disk.warnings) == 1
    assert "wait to be written" in disk.warnings[0]
    assert file.lost.messages == 3
    stuck.end.set()
    assert disk.drain(10)
    file.write(b"on")
    assert disk.drain(10)
    assert len(disk.warnings) == 2
    assert "goes on: 3 messages" in disk.warnings[1]
    assert not file.failing
    file.write(b"and on")
    assert disk.drain(10)
    assert len(disk.warnings) == 2
    file.close()
    assert disk.close(10)


def test_the_end_of_a_file_says_what_a_hanging_disk_has_cost(tmp_path, lay):
    """When nothing was written after that."""
    disk = Disk(1000)
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    stuck = lay(Stuck())
    file.write(HEAD)
    assert stuck.asked.wait(TIMEOUT)
    file.messages = 3
    file.write(bytes(1001))
    file.close()
    stuck.end.set()
    assert disk.close(10)
    assert b"3 messages (1,001 bytes of capture) were not recorded before" in path.read_bytes()


class Unclosable:
    """A file of a network's disk, which tells of its troubles at the end."""

    def __init__(self, file):
        self._file = file

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()
        raise OSError(errno.EIO, "Input/output error")


def test_an_error_at_the_end_of_a_file_costs_no_other(tmp_path, disk):
    """It is said, and the thread goes on."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path).open()
    file._file = Unclosable(file._file)
    put(disk, file, HEAD)
    file.close()
    assert disk.drain(10)
    assert file.is_done
    assert disk.warnings == [f"recording into {path} fails at its end: Input/output error"]
    other = disk.file(tmp_path / "y.pcapng")
    put(disk, other, HEAD)
    assert (tmp_path / "y.pcapng").read_bytes() == HEAD
    other.close()


def test_a_loss_is_written_after_what_came_before_it(tmp_path, lay):
    """What waited already is not missing."""
    disk = Disk(1000)
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    stuck = lay(Stuck())
    file.write(HEAD)
    assert stuck.asked.wait(TIMEOUT)
    file.write(b"B" * 300)
    file.write(b"C" * 180)
    file.messages = 1
    file.write(b"D" * 900)
    file.write(b"E" * 20)
    stuck.end.set()
    assert disk.drain(10)
    file.close()
    assert disk.close(10)
    text = path.read_bytes()
    place = text.index(b"1 messages (900 bytes of capture)")
    assert text.index(b"C" * 180) < place < text.index(b"E" * 20)


def test_a_new_file_that_nothing_fits_into_is_deleted(tmp_path, disk, lay):
    """An empty file is not a capture."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path, fresh=True).open()
    opened = file._file
    full = lay(FullDisk(0))
    put(disk, file, HEAD)
    assert not path.exists()
    assert opened.closed
    full.room = 1000
    disk.now += RETRY_INTERVAL
    put(disk, file, b"later", 1)
    assert path.read_bytes() == HEAD + b"later"
    file.close()


BLOCKS = [build_block(6, b"%04d" % number + bytes(84)) for number in range(15)]
"""Blocks of 100 bytes."""


def recorded_before():
    """Return a capture without packets."""
    parts = []
    Recorder(parts.append, network="lbry-regtest")
    return b"".join(parts)


def room_for(lost):
    """Return how many blocks a file gives up to say what is lost."""
    return -(-(len(lost.block()) + 64) // 100)


def fill(disk, file):
    """Write blocks, of which the last five find no room."""
    put(disk, file, HEAD)
    for block in BLOCKS:
        put(disk, file, block, 1)
    assert (file.lost.messages, file.lost.size) == (5, 500)
    file.close()
    assert disk.drain(10)


@pytest.mark.parametrize("before", [b"", recorded_before()])
def test_a_disk_that_stays_full_costs_the_last_blocks(tmp_path, disk, lay, before):
    """The file has to say what it lacks; a file that was continued keeps what it had."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(before)
    file = disk.file(path)
    lay(SmallDisk(len(before) + len(HEAD) + 1000))
    fill(disk, file)
    written = path.read_bytes()
    kept = 10 - room_for(Loss(5, 500))
    assert written.startswith(before + HEAD + b"".join(BLOCKS[:kept]))
    block = written[len(before) + len(HEAD) + kept * 100 :]
    assert build_block(5, block[8:-4]) == block
    lost = (15 - kept) * 100
    assert f"5 messages ({lost} bytes of capture) were not recorded before this".encode() in block
    assert (file.lost.messages, file.lost.size) == (5, lost)
    assert len(disk.warnings) == 2
    assert f"ends: 5 messages ({lost} bytes of capture)" in disk.warnings[1]


def test_a_disk_that_does_not_even_take_that(tmp_path, disk, lay):
    """What is lost is counted anyway, and once."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    small = lay(SmallDisk(len(HEAD) + 1000))
    put(disk, file, HEAD)
    put(disk, file, b"".join(BLOCKS[:10]), 10)
    put(disk, file, BLOCKS[10], 1)
    small.size = 0
    file.close()
    assert disk.drain(10)
    given_up = room_for(Loss(1, 100))
    assert path.read_bytes() == HEAD + b"".join(BLOCKS[: 10 - given_up])
    assert (file.lost.messages, file.lost.size) == (1, 100 + given_up * 100)


@pytest.mark.parametrize("before", [b"", recorded_before()])
def test_blocks_that_make_no_room_are_kept(tmp_path, disk, lay, before):
    """Neither the head of the file nor what it had before is given up for it."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(before)
    file = disk.file(path)
    lay(SmallDisk(len(before) + len(HEAD) + 100))
    put(disk, file, HEAD)
    for block in BLOCKS[:3]:
        put(disk, file, block, 1)
    file.close()
    assert disk.drain(10)
    assert path.read_bytes() == before + HEAD + BLOCKS[0]
    assert (file.lost.messages, file.lost.size) == (2, 200)


def test_what_comes_after_the_end_is_lost(tmp_path, disk):
    """It is counted, as everything that is not written."""
    file = disk.file(tmp_path / "x.pcapng")
    put(disk, file, HEAD)
    file.close()
    assert disk.drain(10)
    file.messages = 2
    file.write(b"late")
    assert (file.lost.messages, file.lost.size) == (2, 4)
    assert (tmp_path / "x.pcapng").read_bytes() == HEAD


def test_a_loss_elsewhere_is_said_by_the_file(tmp_path, disk):
    """What never got to the file, after everything that did."""
    path = tmp_path / "x.pcapng"
    file = disk.file(path)
    put(disk, file, HEAD)
    put(disk, file, BLOCKS[0], 1)
    file.add_loss(3, 77)
    file.add_loss(1, 3)
    assert (file.lost.messages, file.lost.size) == (4, 80)
    assert not file.failing
    put(disk, file, BLOCKS[1], 1)
    written = path.read_bytes()
    place = written.index(b"4 messages (80 bytes of capture) were not recorded before this")
    assert written.index(BLOCKS[0]) < place < written.index(BLOCKS[1])
    file.close()


def test_whether_the_latest_bytes_are_lost(tmp_path, disk, lay):
    """From the first failure until a write succeeds."""
    file = disk.file(tmp_path / "x.pcapng")
    small = lay(SmallDisk(0))
    assert not file.failing
    put(disk, file, HEAD + BLOCKS[0], 1)
    assert file.failing
    small.size = 1000
    disk.now += RETRY_INTERVAL - 0.1
    put(disk, file, BLOCKS[1], 1)
    assert file.failing
    disk.now += 0.1
    put(disk, file, BLOCKS[2], 1)
    assert not file.failing
    file.close()


def test_a_file_is_open_or_not(tmp_path, disk):
    """One that is not yet, and a pipe, cannot have been moved; one is opened once."""
    file = disk.file(tmp_path / "x.pcapng")
    assert not file.is_moved
    assert file.open() is file
    opened = file._file
    assert file.open()._file is opened
    file.close()
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    pipe = disk.file(tmp_path / "pipe").open()
    (tmp_path / "pipe").unlink()
    assert not pipe.is_moved
    pipe.close()
    assert disk.drain(10)
    os.close(reading)


def test_the_standard_output_has_a_name(disk):
    """Nobody calls it `-` in a sentence."""
    assert disk.file("-").name == "the standard output"
    assert disk.file("x.pcapng").name == "x.pcapng"


def test_nobody_comes_back_to_the_standard_output(monkeypatch, disk):
    """What its reader left unread is lost, while a named pipe waits for the next reader."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        file = disk.file("-").open()
        os.close(reading)
        file.write(HEAD)
        put(disk, file, b"data", 1)
        assert file.failing
        file.close()
        assert disk.drain(10)
    assert (file.lost.messages, file.lost.size) == (1, 4)
    assert disk.warnings[0] == "recording into the standard output fails: Broken pipe"


def test_a_folder_that_is_a_file_is_said_to_be_one(tmp_path, disk):
    """The system says only that it exists."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match="its folder is a file"):
        disk.file(tmp_path / "file" / "x.pcapng").open()
    with pytest.raises(CaptureError, match="Is a directory"):
        disk.file(tmp_path).open()


def test_a_file_that_is_discarded_is_closed(tmp_path, disk, lay):
    """A file that could not be written is removed; one with content stays."""
    lay(SmallDisk(4))
    file = disk.file(tmp_path / "x.pcapng", fresh=True).open()
    with pytest.raises(OSError, match="No space"):
        file.write_at_once([HEAD])
    assert file.room == 4
    file.discard()
    assert list(tmp_path.iterdir()) == []
    lay(SmallDisk(1000))
    file = disk.file(tmp_path / "x.pcapng", fresh=True).open()
    file.write_at_once([HEAD])
    opened = file._file
    file.discard()
    assert opened.closed
    assert (tmp_path / "x.pcapng").read_bytes() == HEAD
