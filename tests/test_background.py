"""Writing in the background: in order, bounded, and nobody waits for it."""

import os
import threading

from lbcproxy.background import Background, PlainOutput, TextOutput, write_all


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
        assert self.open.wait(30)
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
    background._thread.join(10)
    assert not background._thread.is_alive()


def test_a_function_runs_behind_what_was_given_before():
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


def test_who_puts_does_not_wait_and_what_waits_is_bounded():
    """A pipe that nobody reads must cost neither time nor memory without end."""
    gate = Gate()
    background = Background(100)
    assert background.put(gate, bytes(60))
    assert gate.asked.wait(30)
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
    thread.join(10)
    assert took == b"".join(parts)
    os.close(reading)
    os.close(writing)


def test_nothing_is_taken_behind_the_end():
    """What comes then is lost, and who gives it is told."""
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
    monkeypatch.setattr("lbcproxy.background.MOST_TEXT", 200_000)
    reading, writing = os.pipe()
    output = TextOutput(writing, "utf-8")
    for _ in range(100):
        output.write("x" * 10_000)
    assert output.dropped > 0
    os.close(reading)
    output.drain(10)
    dropped = output.dropped
    output.write("nobody is there")
    assert output.dropped == dropped + 1
    os.close(writing)


def test_a_stream_in_memory_is_written_at_once(capsys):
    """As in tests."""
    import sys

    output = PlainOutput(sys.stdout)
    output.write("hello\n")
    output.drain()
    assert capsys.readouterr().out == "hello\n"
