"""Tests of reading from a pipe: what waits is given out by the clock."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.capture.reading import pipe_input
from lbcproxy.capture.reading.pipe_input import Idle, is_pipe, with_idle
from tests.tools import TIMEOUT

CASES = Path(__file__).parents[2] / "cases"


def test_items_come_as_they_are_and_errors_are_raised():
    """A pipe differs from a file by its pauses only."""

    def items():
        yield from range(600)
        raise ValueError("at the end")

    taken = []
    with pytest.raises(ValueError, match="at the end"):
        taken.extend(each for each in with_idle(items()) if not isinstance(each, Idle))
    assert taken == list(range(600))


def test_a_pause_is_reported():
    """Whoever holds something back learns how long nothing has come."""
    goes_on = threading.Event()

    def items():
        yield 1
        goes_on.wait(TIMEOUT)
        yield 2

    found = with_idle(items(), 0.001)
    assert next(each for each in found if each == 1) == 1
    assert next(found) == Idle(0.001)
    assert next(found) == Idle(0.002)
    goes_on.set()
    assert next(each for each in found if not isinstance(each, Idle)) == 2


def test_what_is_not_taken_any_more_is_not_read():
    """`head` closes its end: the thread that reads must not stay."""
    before = threading.active_count()
    found = with_idle(iter(range(10_000)), 0.001)
    assert next(found) == 0
    found.close()
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(_read)"):
            thread.join(TIMEOUT)
    assert threading.active_count() <= before


def test_a_full_queue_is_tried_again(monkeypatch):
    """Until the item is taken, or nobody takes any more."""
    monkeypatch.setattr(pipe_input, "IDLE_SECONDS", 0.001)

    class Full(Queue):
        """A queue that has room at the third time."""

        tried = 0

        def put(self, item, block=True, timeout=None):
            self.tried += 1
            if self.tried < 3:
                super().put(item, block, timeout)  # it is full already
            self.get_nowait()
            super().put(item)

    queue = Full(1)
    Queue.put(queue, "first")
    stopped = threading.Event()
    assert pipe_input._put(queue, "second", stopped)
    assert (queue.tried, queue.get_nowait()) == (3, "second")
    stopped.set()
    assert not pipe_input._put(queue, "third", stopped)
    assert queue.empty()


@pytest.mark.parametrize(
    ("make", "pipe"),
    [(Path.mkdir, False), (Path.touch, False), (os.mkfifo, True)],
    ids=["folder", "file", "pipe"],
)
def test_what_may_block_is_a_pipe(tmp_path, make, pipe):
    """A terminal and a socket may too."""
    make(tmp_path / "x")
    assert is_pipe(tmp_path / "x") is pipe


def test_messages_come_out_of_a_pipe_that_stays_open():
    """`tcpdump -w - | lbcproxy show -`: the last message must not wait for the next packet."""
    data = (CASES / "short20.pcap").read_bytes()
    read, write = os.pipe()
    os.write(write, data)
    capture = iter(open_capture(f"/dev/fd/{read}", "lbry-regtest"))
    commands = [next(capture).command for _ in range(60)]
    assert commands.count("ping") == 20
    os.close(write)
    assert list(capture) == []
    os.close(read)


def test_show_reads_standard_input_as_it_comes():
    """The same through the command, whose output is read before its input ends."""
    data = (CASES / "short20.pcap").read_bytes()
    command = [sys.executable, "-m", "lbcproxy", "show", "--network", "lbry-regtest", "/dev/stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shown:
        assert shown.stdin is not None
        assert shown.stdout is not None
        shown.stdin.write(data)
        shown.stdin.flush()
        lines = [shown.stdout.readline() for _ in range(60)]
        assert all(line.startswith(b"#") for line in lines)
        shown.stdin.close()
        assert shown.stdout.read() == b""
        assert shown.wait(TIMEOUT) == 0
