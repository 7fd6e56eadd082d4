"""The file a recorder writes to: never written over, whole after every write."""

import errno
import threading
from datetime import UTC, datetime

import pytest

from lbcproxy.capture import CaptureFile, Recorder, new_name, open_capture
from lbcproxy.errors import CaptureError


def test_new_file_and_its_folder_are_made(tmp_path):
    """The first run of a newcomer has no captures/ yet."""
    file = CaptureFile(str(tmp_path / "captures" / "new.pcapng"), print)
    Recorder(file.write, network="lbry-regtest")
    file.close()
    assert list(open_capture(tmp_path / "captures" / "new.pcapng")) == []
    assert not file.continued


def test_existing_capture_is_continued_behind_its_last_whole_block(tmp_path):
    """A crash leaves a torn block; what is written behind it would be unreadable."""
    path = tmp_path / "old.pcapng"
    with path.open("wb") as old:
        Recorder(old.write, network="lbry-regtest")
    whole = path.stat().st_size
    with path.open("ab") as old:
        old.write(b"\x06\0\0\0\x40\0\0\0torn")
    file = CaptureFile(str(path), print)
    assert (file.cut, file.continued) == (12, True)
    Recorder(file.write, network="lbry-regtest")
    file.close()
    assert path.stat().st_size == 2 * whole
    assert list(open_capture(path)) == []


def test_other_files_are_never_written_over(tmp_path):
    """A mistyped -w must not cost somebody's notes."""
    path = tmp_path / "notes.txt"
    path.write_text("important" * 10)
    with pytest.raises(CaptureError, match="is no pcapng: it is not written over"):
        CaptureFile(str(path), print)
    assert path.read_text() == "important" * 10


def test_place_that_cannot_be_written_is_named(tmp_path):
    """The text says which path, and what the system says."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match="cannot write .*file/x.pcapng"):
        CaptureFile(str(tmp_path / "file" / "x.pcapng"), print)


class FullDisk:
    """A file on a disk that takes some bytes, then no more."""

    def __init__(self, path, room):
        self._file = path.open("ab", buffering=0)
        self._room = room

    def fileno(self):
        return self._file.fileno()

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        took = self._file.write(data[: self._room])
        self._room -= took
        return took

    def flush(self):
        pass

    def close(self):
        self._file.close()


def test_full_disk_is_said_once_and_the_file_stays_whole(tmp_path):
    """Traffic goes on; the operator is told that the record does not; no block is torn."""
    said = []
    path = tmp_path / "x.pcapng"
    file = CaptureFile(str(path), said.append)
    file._file.close()
    file._file = FullDisk(path, 10)
    file.write(b"12345678")
    assert file._background.drain(10)
    file.write(b"abcdefgh")
    file.close()
    file.write(b"never")
    assert path.read_bytes() == b"12345678"
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert file.error == said[0]


class Stuck:
    """A pipe that nobody reads."""

    def __init__(self):
        self.asked = threading.Event()
        self.end = threading.Event()

    def fileno(self):
        return 0

    def write(self, data):
        self.asked.set()
        self.end.wait(30)
        return len(data)

    def flush(self):
        pass

    def close(self):
        pass


def test_a_pipe_that_nobody_reads_stops_the_recording_and_nobody_else(tmp_path, monkeypatch):
    """A Wireshark that hangs must not hold up two nodes."""
    monkeypatch.setattr("lbcproxy.capture.file.MOST_WAITING", 1000)
    monkeypatch.setattr("lbcproxy.capture.file.PATIENCE", 0.01)
    said = []
    file = CaptureFile(str(tmp_path / "x.pcapng"), said.append)
    file._file.close()
    file._file = stuck = Stuck()
    try:
        file.write(bytes(600))
        assert stuck.asked.wait(10)
        file.write(bytes(600))
        file.write(bytes(600))
        assert len(said) == 1
        assert "wait to be written" in said[0]
        file.close()
        assert len(said) == 1
    finally:
        stuck.end.set()


def test_names_of_captures_do_not_collide(tmp_path):
    """Two runs in one second have two files."""
    now = datetime(2026, 11, 23, 9, 45, 0, tzinfo=UTC)
    first = new_name(tmp_path, "demo", now)
    assert first.endswith("20261123-094500-demo.pcapng")
    (tmp_path / "20261123-094500-demo.pcapng").write_text("")
    assert new_name(tmp_path, "demo", now).endswith("20261123-094500-demo-2.pcapng")
