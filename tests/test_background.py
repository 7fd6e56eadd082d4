"""Writing in the background: in order, bounded, and nobody waits for it."""

import os
import threading

from lbcproxy.background import Background, PlainOutput, TextOutput


class Gate:
    """A write that waits to be let through."""

    def __init__(self):
        self.written = b""
        self.asked = threading.Event()
        self.open = threading.Event()

    def write(self, data):
        self.asked.set()
        assert self.open.wait(30)
        self.written += data


def test_all_is_written_in_order():
    """A capture is only as good as its order."""
    gate = Gate()
    gate.open.set()
    background = Background(gate.write, 1 << 20, print)
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]
    assert [background.put(piece) for piece in pieces] == [True] * len(pieces)
    assert background.drain(30)
    assert gate.written == b"".join(pieces)


def test_who_puts_does_not_wait_and_what_waits_is_bounded():
    """A pipe that nobody reads must cost neither time nor memory without end."""
    gate = Gate()
    background = Background(gate.write, 100, print)
    assert background.put(bytes(60))
    assert gate.asked.wait(30)
    assert background.put(bytes(40))
    assert not background.put(bytes(1))
    assert not background.drain(0.01)
    gate.open.set()
    assert background.drain(30)
    assert background.put(bytes(100))


def test_what_fails_is_told_once_and_nothing_more_is_taken():
    """After a full disk there is nothing to write to."""
    failures = []
    told = threading.Event()

    def fail(data):
        raise OSError(28, "No space left on device")

    def failed(error):
        failures.append(error)
        told.set()

    background = Background(fail, 100, failed)
    background.put(b"a")
    assert told.wait(30)
    assert not background.put(b"b")
    assert background.drain(0.0)
    assert [error.errno for error in failures] == [28]


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
    monkeypatch.setattr("lbcproxy.background.MOST_TEXT", 200_000)
    reading, writing = os.pipe()
    output = TextOutput(writing, "utf-8")
    for _ in range(100):
        output.write("x" * 10_000)
    assert output.dropped > 0
    os.close(reading)
    output.drain(10)
    os.close(writing)


def test_a_stream_in_memory_is_written_at_once(capsys):
    """As in tests."""
    import sys

    output = PlainOutput(sys.stdout)
    output.write("hello\n")
    output.drain()
    assert capsys.readouterr().out == "hello\n"
