"""The key log of the process: its file and mode, and what happens if it cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from lbcproxy.errors import LbcproxyError
from lbcproxy.service.key_log import KeyLogFile
from lbcproxy.transport.key_log import KeyLog, LoggedSecret, format_line

ONE = LoggedSecret(bytes(range(64)), bytes(range(32)), b"\xfa\xe4\xaa\xf1")
OTHER = LoggedSecret(bytes(64), bytes(32), b"\xf9\xbe\xb4\xd9")


class Disk:
    """A file that accepts so many bytes, and then is full."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def write(self, data: bytes) -> int:
        """Write what there is room for."""
        taken = data[: self.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.data += taken
        return len(taken)

    def close(self) -> None:
        """Close it."""


@pytest.fixture
def log() -> Any:
    """A key log."""
    file = KeyLogFile()
    yield file
    file.close()


def test_it_is_created_for_its_owner_alone(log: KeyLogFile, tmp_path: Path):
    """With its folder; each line is there at once."""
    path = tmp_path / "new" / "keys.log"
    log.set(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    log.write(ONE)
    assert path.read_text() == format_line(ONE)
    log.write(OTHER)
    assert path.read_text() == format_line(ONE) + format_line(OTHER)


def test_it_is_appended_to(log: KeyLogFile, tmp_path: Path):
    """A file keeps what it has, and its mode; others who can read it are warned of."""
    path = tmp_path / "keys.log"
    path.write_text(format_line(OTHER))
    path.chmod(0o640)
    with capturedLogs() as events:
        log.set(str(path))
    assert [each["log_level"] for each in events] == [LogLevel.warn]
    log.write(ONE)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text() == format_line(OTHER) + format_line(ONE)


def test_without_a_file_nothing_is_logged(log: KeyLogFile, tmp_path: Path):
    """Before one is set, and after."""
    log.write(ONE)
    path = tmp_path / "keys.log"
    log.set(str(path))
    log.set(None)
    log.write(ONE)
    assert path.read_bytes() == b""


def test_a_file_that_cannot_be_opened(log: KeyLogFile, tmp_path: Path):
    """Is an error that names the setting; the file before stays in use."""
    path = tmp_path / "keys.log"
    log.set(str(path))
    with pytest.raises(LbcproxyError, match=r"^key_log: cannot append to /.*: Is a directory$"):
        log.set(str(tmp_path))
    with pytest.raises(LbcproxyError, match=r"its folder is a file"):
        log.set(str(path / "keys.log"))
    assert log.path == str(path)
    log.write(ONE)
    assert path.read_text() == format_line(ONE)


def test_a_pipe_is_refused(log: KeyLogFile, tmp_path: Path):
    """Opening it would wait for a reader."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LbcproxyError, match="is a pipe, not a file"):
        log.set(str(tmp_path / "pipe"))


def test_a_file_that_was_moved_away_is_begun_anew(log: KeyLogFile, tmp_path: Path):
    """After SIGHUP, as logrotate does it."""
    path, moved = tmp_path / "keys.log", tmp_path / "keys.1"
    log.set(str(path))
    log.write(ONE)
    path.rename(moved)
    log.reopen()
    log.write(OTHER)
    assert (moved.read_text(), path.read_text()) == (format_line(ONE), format_line(OTHER))


def test_a_full_disk_is_logged_once(log: KeyLogFile, monkeypatch: pytest.MonkeyPatch):
    """Without the secret. What was cut off does not spoil the lines after it."""
    disk = Disk(len(format_line(ONE)) + 20)
    monkeypatch.setattr("lbcproxy.service.key_log._open", lambda _: disk)
    log.set("keys.log")
    with capturedLogs() as events:
        for _ in range(3):
            log.write(ONE)
        disk.room = 10_000
        log.write(OTHER)
        log.write(OTHER)
        log.close()
    assert [each["log_level"] for each in events] == [LogLevel.error, LogLevel.warn]
    assert events[0]["why"] == "No space left on device"
    assert events[1]["missing"] == 2
    assert ONE.secret.hex() not in repr(events)
    read = KeyLog(disk.data.decode().splitlines())
    assert (len(read), read.bad_lines) == (2, [2])
    assert disk.data.decode().endswith(f"\n{format_line(OTHER)}{format_line(OTHER)}")
