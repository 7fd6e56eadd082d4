"""Writing in the background: in order, bounded, and nobody waits for it."""

import errno
import os
import threading

from lbcproxy.background import Background, PlainOutput, TextOutput, write_all
from tests.tools import TIMEOUT


class Gate:
    """A sink that waits to be let through."""

    def __init__(self, is_open=False):
        self.written = b""
        self.count = 0
        self.asked = threading.Event()
        self.open = threading.Event()
        if is_open:
            self.open.set()

    def write_out(self, parts, count):
        self.asked.set()
        assert self.open.wait(TIMEOUT)
        self.written += b"".join(parts)
        self.count += count


def test_all_is_written_in_order():
    """A capture is only as good as its order."""
    gate = Gate(is_open=True)
    background = Background(1 << 20)
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]
    assert [background.put(gate, piece, 2) for piece in pieces] == [True] * len(pieces)
    assert background.drain(30)
    assert gate.written == b"".join(pieces)
    assert gate.count == 10_000


def test_sinks_are_written_side_by_side_each_in_its_order():
    """Thousands of sessions with a file each have one thread."""
    gates = [Gate(is_open=True) for _ in range(50)]
    background = Background(1 << 20)
    for number in range(5000):
        assert background.put(gates[number % 50], bytes([number % 251]))
    assert background.close(30)
    for place, gate in enumerate(gates):
        assert gate.written == bytes(number % 251 for number in range(place, 5000, 50))
    assert background._thread is not None
    background._thread.join(TIMEOUT)
    assert not background._thread.is_alive()


def test_a_function_runs_after_what_was_put_before():
    """A file is closed when it is whole."""
    gate, seen = Gate(), []
    background = Background(100)
    background.put(gate, b"ab")
    background.call(lambda: seen.append(gate.written))
    background.put(gate, b"cd")
    background.call(lambda: seen.append(gate.written))
    gate.open.set()
    assert background.drain(30)
    assert seen == [b"ab", b"abcd"]


def test_putting_does_not_wait_and_the_queue_is_bounded():
    """A pipe that nobody reads must cost neither time nor memory without end."""
    gate = Gate()
    background = Background(100)
    assert background.put(gate, bytes(60))
    assert gate.asked.wait(TIMEOUT)
    assert background.put(gate, bytes(40))
    assert not background.put(gate, bytes(1))
    assert not background.drain(0.01)
    gate.open.set()
    assert background.drain(30)
    assert background.put(gate, bytes(100))


def test_many_parts_are_written_without_being_put_together():
    """More than one call takes, and a pipe takes them piece by piece."""
    reading, writing = os.pipe()
    parts = [bytes([number % 251]) * (number % 90) for number in range(5000)]
    thread = threading.Thread(target=write_all, args=(writing, parts))
    thread.start()
    took = b""
    while len(took) < sum(map(len, parts)):
        took += os.read(reading, 1000)
    thread.join(TIMEOUT)
    assert took == b"".join(parts)
    os.close(reading)
    os.close(writing)


def test_nothing_is_taken_after_the_end():
    """What comes then is lost, and the caller learns it."""
    background = Background(100)
    assert background.close(1)
    assert not background.put(Gate(), b"late")


def test_lines_reach_a_stream_in_its_encoding():
    """What the stream cannot hold is escaped."""
    reading, writing = os.pipe()
    output = TextOutput(writing, "ascii")
    output.write("caf\u00e9\n")
    output.drain()
    os.close(writing)
    assert os.read(reading, 100) == b"caf\\xe9\n"
    os.close(reading)


def test_lines_are_dropped_and_counted_when_nobody_reads(monkeypatch):
    """`run | less` must not stop the traffic."""
    monkeypatch.setattr("lbcproxy.background.MAX_TEXT", 200_000)
    reading, writing = os.pipe()
    notices: list[str] = []
    output = TextOutput(writing, "utf-8", notices.append, lambda: notices.append("gone"))
    for _ in range(100):
        output.write("x" * 10_000 + "\n")
    assert output.lost > 0
    assert output.why == "nobody read them in time"
    os.close(reading)
    output.drain(10)
    assert notices == ["Broken pipe", "gone"]
    assert output.why == "Broken pipe"
    assert 90 < output.lost <= 100  # a pipe holds some
    lost = output.lost
    output.write("nobody is there\n")
    assert output.lost == lost + 1
    os.close(writing)


class FullDisk:
    """Stands in for `os.write`; it has so much room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.failed = threading.Event()

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not self.room:
            self.failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_lines_wait_for_a_full_disk(tmp_path, monkeypatch):
    """They go on in the middle of the line where it was full; none is lost."""
    monkeypatch.setattr("lbcproxy.background.RETRY_INTERVAL", 0.001)
    notices: list[str] = []
    disk = FullDisk(25)
    with (tmp_path / "out").open("wb") as file:
        output = TextOutput(file.fileno(), "utf-8", notices.append, write=disk)
        lines = [f"line {number}\n" for number in range(100)]
        for line in lines:
            output.write(line)
        assert disk.failed.wait(TIMEOUT)
        disk.room = 1 << 20
        output.drain(10)
    assert notices == ["No space left on device", "it takes lines again"]
    assert output.lost == 0
    assert (tmp_path / "out").read_text() == "".join(lines)


def test_lines_that_found_no_room_in_the_end_are_counted(tmp_path):
    """Whole ones and the one that was cut."""
    notices: list[str] = []
    with (tmp_path / "out").open("wb") as file:
        output = TextOutput(file.fileno(), "utf-8", notices.append, write=FullDisk(25))
        for number in range(10):
            output.write(f"line {number}\n")
        output.drain(10)
    assert notices == ["No space left on device"]
    assert (output.lost, output.why) == (7, "No space left on device")
    assert (tmp_path / "out").read_bytes() == b"line 0\nline 1\nline 2\nline"


def test_lines_that_a_reader_leaves_are_counted(monkeypatch):
    """It hangs in the writing; the program does not wait for it."""
    reading, writing = os.pipe()
    output = TextOutput(writing, "utf-8")
    for _ in range(10):
        output.write("x" * 20_000 + "\n")
    output.drain(0.1)
    assert 6 <= output.lost <= 10
    assert output.why == "nobody read them in time"
    os.close(reading)


def test_a_stream_in_memory_is_written_at_once(capsys):
    """As in tests."""
    import sys

    output = PlainOutput(sys.stdout)
    output.write("hello\n")
    output.drain()
    assert capsys.readouterr().out == "hello\n"
