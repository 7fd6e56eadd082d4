"""Recording into a named pipe: it waits for nobody, and what waits for its reader is bounded."""

from __future__ import annotations

import os
import threading

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import CaptureFile
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.writing.pcapng_blocks import build_block

HEAD = build_block(pcapng.SECTION, bytes(16))
PATIENCE = 20


class Notices:
    """What a recording says, from whatever thread."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reader = threading.Event()

    def __call__(self, text: str, bad: bool) -> None:
        self.texts.append(text)
        if text.endswith("has a reader"):
            self.reader.set()


@pytest.fixture
def notices():
    return Notices()


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def read_all(path, found):
    found.append(path.read_bytes())


def reader_of(path):
    """Read a pipe to its end, in a thread; its bytes are in the list."""
    found: list[bytes] = []
    thread = threading.Thread(target=read_all, args=(path, found), daemon=True)
    thread.start()
    return thread, found


def test_a_pipe_is_written_when_its_reader_comes(pipe, notices):
    """Until then all is held, in order; nothing waits for it, and nothing is lost."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    assert notices.texts == [f"recording: waiting for a reader of {pipe}"]
    file.write(HEAD)
    for number in range(50):
        file.messages = 1
        file.write(b"%04d" % number)
    assert disk.drain(PATIENCE)
    thread, found = reader_of(pipe)
    assert notices.reader.wait(PATIENCE)
    file.write(b"late")
    file.close()
    assert disk.close(PATIENCE)
    thread.join(PATIENCE)
    assert found == [HEAD + b"".join(b"%04d" % number for number in range(50)) + b"late"]
    assert not file.lost


def test_a_pipe_that_is_read_already_is_written_at_once(pipe, notices):
    """As before: `wireshark -k -i pipe` may be first."""
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.write(b"data")
    file.close()
    assert disk.close(PATIENCE)
    assert os.read(reading, 1000) == HEAD + b"data"
    os.close(reading)
    assert notices.texts == []


def test_what_waits_for_a_reader_is_bounded(pipe, notices):
    """What does not fit is lost, counted and reported, to the reader too, after what was held."""
    disk = Background(1000)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    for _ in range(5):
        file.messages = 2
        file.write(bytes(300))
        assert disk.drain(PATIENCE)
    assert (file.lost.messages, file.lost.size) == (4, 600)
    assert notices.texts[1:] == [f"recording into {pipe} fails: nobody reads it, and 0 MiB wait"]
    thread, found = reader_of(pipe)
    assert notices.reader.wait(PATIENCE)
    assert disk.drain(PATIENCE)
    file.close()
    assert disk.close(PATIENCE)
    thread.join(PATIENCE)
    [got] = found
    assert got.startswith(HEAD + bytes(900))
    assert b"4 messages (600 bytes of capture) were not recorded before this" in got[900:]


def test_a_pipe_that_nobody_ever_reads_is_a_loss(pipe, notices):
    """Said and counted at the end, so that `run` ends with 1."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.messages = 3
    file.write(b"data")
    file.close()
    assert disk.close(PATIENCE)
    assert (file.lost.messages, file.lost.size) == (3, 4)
    assert notices.texts[1:] == [f"recording into {pipe} fails: nobody has read it"]
    assert file.is_done
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread that waits go


def test_a_pipe_into_which_nothing_was_to_be_written_lost_nothing(pipe, notices):
    """A header alone does not count as a loss."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.close()
    assert disk.close(PATIENCE)
    assert not file.lost
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
