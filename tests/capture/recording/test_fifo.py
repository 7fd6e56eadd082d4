"""Recording into a named pipe: it waits for nobody, and what waits for its reader is bounded."""

from __future__ import annotations

import os
import threading

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import CaptureFile
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.fifo import Fifo, open_fifo
from lbcproxy.capture.writing.pcapng_blocks import build_block
from tests.tools import TIMEOUT

HEAD = build_block(pcapng.SECTION, bytes(16))


class Notices:
    """What a recording says, from whatever thread."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.bad: list[str] = []
        self.reader = threading.Event()

    def __call__(self, text: str, bad: bool) -> None:
        self.texts.append(text)
        if bad:
            self.bad.append(text)
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


def overfill(file, disk):
    """Write more than 1,000 bytes of queue can hold: of ten messages, four are lost."""
    for _ in range(5):
        file.messages = 2
        file.write(bytes(300))
        assert disk.drain(TIMEOUT)
    assert (file.lost.messages, file.lost.size) == (4, 600)


def check_next_reader(pipe, file, disk, notices):
    """Fail unless the next reader gets what was held, and is told about what was lost."""
    thread, found = reader_of(pipe)
    assert notices.reader.wait(TIMEOUT)
    assert disk.drain(TIMEOUT)
    file.close()
    assert disk.close(TIMEOUT)
    thread.join(TIMEOUT)
    [got] = found
    assert got.startswith(HEAD + bytes(900))
    assert b"4 messages (600 bytes of capture) were not recorded before this" in got[900:]


def test_a_pipe_is_written_when_its_reader_comes(pipe, notices):
    """Until then all is held, in order; nothing waits for it, and nothing is lost."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    assert notices.texts == [f"recording: waiting for a reader of {pipe}"]
    file.write(HEAD)
    for number in range(50):
        file.messages = 1
        file.write(b"%04d" % number)
    assert disk.drain(TIMEOUT)
    thread, found = reader_of(pipe)
    assert notices.reader.wait(TIMEOUT)
    file.write(b"late")
    file.close()
    assert disk.close(TIMEOUT)
    thread.join(TIMEOUT)
    assert found == [HEAD + b"".join(b"%04d" % number for number in range(50)) + b"late"]
    assert not file.lost
    assert notices.bad == []


def test_a_pipe_that_is_read_already_is_written_at_once(pipe, notices):
    """As before: `wireshark -k -i pipe` may be first."""
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.write(b"data")
    file.close()
    assert disk.close(TIMEOUT)
    assert os.read(reading, 1000) == HEAD + b"data"
    os.close(reading)
    assert notices.texts == []


def test_what_waits_for_a_reader_is_bounded(pipe, notices):
    """What does not fit is lost, counted and reported, to the reader too, after what was held."""
    disk = Background(1000)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    overfill(file, disk)
    assert notices.texts[1:] == [f"recording into {pipe} fails: nobody reads it, and 0 MiB wait"]
    check_next_reader(pipe, file, disk, notices)


def test_the_next_reader_of_a_pipe_gets_a_whole_capture(pipe, notices):
    """As when Wireshark is closed and started again: what came in between waits for it."""
    disk = Background(1 << 20)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.write(b"first")
    assert disk.drain(TIMEOUT)
    assert os.read(reading, 1000) == HEAD + b"first"
    os.close(reading)
    for number in range(3):
        file.messages = 1
        file.write(b"%04d" % number)
        assert disk.drain(TIMEOUT)
    assert notices.texts == [
        f"recording: the reader of {pipe} has left",
        f"recording: waiting for a reader of {pipe}",
    ]
    thread, found = reader_of(pipe)
    assert notices.reader.wait(TIMEOUT)
    file.write(b"last")
    file.close()
    assert disk.close(TIMEOUT)
    thread.join(TIMEOUT)
    assert found == [HEAD + b"000000010002last"]
    assert not file.lost
    assert notices.bad == []


def test_what_comes_after_the_last_reader_of_a_pipe_has_left_is_a_loss(pipe, notices):
    """Said and counted at the end, so that `run` ends with 1."""
    disk = Background(1 << 20)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    assert disk.drain(TIMEOUT)
    os.close(reading)
    file.messages = 3
    file.write(b"data")
    file.close()
    assert disk.close(TIMEOUT)
    assert (file.lost.messages, file.lost.size) == (3, 4)
    assert notices.bad == [f"recording into {pipe} fails: nobody has read it"]
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread that waits go


def test_a_pipe_that_nobody_reads_again_holds_no_more_than_the_queue_may(pipe, notices):
    """The rest is lost, counted, and reported to the next reader."""
    disk = Background(1000)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    assert disk.drain(TIMEOUT)
    os.close(reading)
    overfill(file, disk)
    check_next_reader(pipe, file, disk, notices)


def test_a_pipe_that_nobody_ever_reads_is_a_loss(pipe, notices):
    """Said and counted at the end, so that `run` ends with 1."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.messages = 3
    file.write(b"data")
    file.close()
    assert disk.close(TIMEOUT)
    assert (file.lost.messages, file.lost.size) == (3, 4)
    assert notices.texts[1:] == [f"recording into {pipe} fails: nobody has read it"]
    assert notices.bad == notices.texts[1:]
    assert file.is_done
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread that waits go


def test_a_pipe_into_which_nothing_was_to_be_written_lost_nothing(pipe, notices):
    """A header alone does not count as a loss."""
    disk = Background(1 << 20)
    file = CaptureFile(str(pipe), disk, notices).open()
    file.write(HEAD)
    file.close()
    assert disk.close(TIMEOUT)
    assert not file.lost
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))


def test_a_pipe_without_a_reader_is_not_opened(pipe):
    """A write to a slow reader waits; only the opening does not."""
    assert open_fifo(str(pipe)) is None
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    opened = open_fifo(str(pipe))
    assert opened is not None
    assert os.get_blocking(opened.fileno())
    opened.write(b"at once")
    assert os.read(reading, 100) == b"at once"
    opened.close()
    os.close(reading)
    with pytest.raises(FileNotFoundError):
        open_fifo(str(pipe.with_name("nothing")))


def test_the_thread_that_waits_does_not_keep_the_program_alive(pipe):
    """Nobody may ever read the pipe."""
    opened = []
    done = threading.Event()

    def on_opened(file):
        opened.append(file)
        done.set()

    Fifo(str(pipe), 10, on_opened)
    [thread] = [each for each in threading.enumerate() if each.name == f"reader of {pipe}"]
    assert thread.daemon
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert done.wait(TIMEOUT)
    [file] = opened
    file.write(b"not buffered")
    assert os.read(reading, 100) == b"not buffered"
    file.close()
    os.close(reading)


def test_a_pipe_that_cannot_be_opened_is_an_error(tmp_path):
    """It was removed, say."""
    opened: list[object] = []
    done = threading.Event()
    Fifo(str(tmp_path / "nothing"), 10, lambda file: (opened.append(file), done.set()))
    assert done.wait(TIMEOUT)
    assert isinstance(opened[0], FileNotFoundError)


def test_a_pipe_that_was_given_up_is_closed_at_once(pipe):
    """Its reader sees the end of it, and nobody is notified."""
    opened: list[object] = []
    fifo = Fifo(str(pipe), 10, opened.append)
    fifo.is_abandoned = True
    [thread] = [each for each in threading.enumerate() if each.name == f"reader of {pipe}"]
    assert pipe.read_bytes() == b""
    thread.join(TIMEOUT)
    assert opened == []


class FakeFifo(Fifo):
    """A pipe whose reader comes when a test says so."""

    def _wait(self):
        pass


@pytest.fixture
def fake(pipe, notices, monkeypatch):
    """A file at a pipe that waits for its reader, and the pipe."""
    monkeypatch.setattr("lbcproxy.capture.recording.file.Fifo", FakeFifo)
    disk = Background(1000)
    file = CaptureFile(str(pipe), disk, notices).open()
    return disk, file, file._fifo


def test_what_was_buffered_for_a_pipe_that_cannot_be_opened_is_lost(fake, notices):
    """With the reason."""
    disk, file, fifo = fake
    assert file.open() is file
    assert file._fifo is fifo
    file.write(HEAD)
    file.messages = 3
    file.write(b"data")
    assert disk.drain(TIMEOUT)
    assert not file.lost
    fifo._on_opened(OSError(5, "Input/output error"))
    assert disk.drain(TIMEOUT)
    assert (file.lost.messages, file.lost.size) == (3, 4)
    assert notices.texts[1:] == [f"recording into {file.path} fails: Input/output error"]
    assert disk.close(TIMEOUT)


def test_a_reader_that_comes_too_late_gets_nothing(fake, notices, tmp_path):
    """The end of the file has said what is lost."""
    disk, file, fifo = fake
    file.write(HEAD)
    file.messages = 1
    file.write(b"data")
    file.close()
    assert disk.drain(TIMEOUT)
    assert fifo.is_abandoned
    opened = (tmp_path / "other").open("wb")
    fifo._on_opened(opened)
    assert disk.drain(TIMEOUT)
    assert opened.closed
    assert (tmp_path / "other").read_bytes() == b""
    fifo._on_opened(OSError(5, "Input/output error"))
    assert disk.close(TIMEOUT)
    assert (file.lost.messages, file.lost.size) == (1, 4)
    assert notices.texts[1:] == [f"recording into {file.path} fails: nobody has read it"]


@pytest.mark.parametrize("size", [1000, 1001])
def test_exactly_as_much_as_may_be_queued_is_held(fake, size):
    """Bytes that fill the room are held, with how many messages they are."""
    _, _, fifo = fake
    assert fifo.hold([bytes(400)], 1)
    assert fifo.hold([bytes(100), bytes(size - 500)], 2) is (size == 1000)
    assert (len(fifo.parts), fifo.messages) == ((3, 3) if size == 1000 else (1, 1))
    assert not fifo.hold([bytes(601)], 1)
