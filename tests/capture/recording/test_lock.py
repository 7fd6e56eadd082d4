"""The lock of a capture that is being written."""

import errno
import fcntl
import os

import pytest

from lbcproxy.capture.recording.lock import locked, try_lock
from lbcproxy.errors import CaptureError


def is_locked(path):
    """Return whether something has locked a file."""
    with path.open("rb") as file:
        return not try_lock(file.fileno())


def test_a_file_is_locked_within_the_block(tmp_path):
    """And free again after it, also after an error."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"")
    with locked(path):
        assert is_locked(path)
    assert not is_locked(path)
    with pytest.raises(ZeroDivisionError), locked(path):
        _ = 1 // 0
    assert not is_locked(path)


def test_a_file_that_another_process_writes_is_refused(tmp_path):
    """The lock of an open file is another's even within one process."""
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        assert try_lock(file.fileno())
        with pytest.raises(CaptureError, match="x.pcapng is being written by another process"):
            locked(path).__enter__()
        assert is_locked(path)


@pytest.mark.parametrize(
    ("number", "refused"),
    [(errno.EWOULDBLOCK, True), (errno.EACCES, True), (errno.ENOLCK, False)],
)
def test_a_file_system_without_locks_is_not_a_writer(tmp_path, monkeypatch, number, refused):
    """Some network file systems have none, and some say EACCES for a lock that is taken."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"")

    def fail(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    entered = []
    try:
        with locked(path):
            entered.append(path)
    except CaptureError:
        assert refused
    assert bool(entered) is not refused


def test_a_file_that_does_not_exist_is_not_being_written(tmp_path):
    """`repair` may be given any name; it says so itself."""
    with locked(tmp_path / "nothing"):
        assert not (tmp_path / "nothing").exists()


def test_a_pipe_is_not_waited_for(tmp_path):
    """Opening one for reading blocks until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with locked(tmp_path / "pipe"):
        pass
