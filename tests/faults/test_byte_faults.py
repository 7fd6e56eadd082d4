"""Each fault on a clock: what goes on, when, and what does not."""

import pytest

from lbcproxy.faults import byte_faults
from tests.faults.chains import DrivenChain, fault


def test_the_kinds_of_toxiproxy_are_there():
    """Their names and attributes are what its users and its clients say."""
    found = {name: kind.__struct_fields__ for name, kind in byte_faults().items()}
    assert (
        found.items()
        >= {
            "latency": ("latency", "jitter"),
            "bandwidth": ("rate",),
            "slow_close": ("delay",),
            "timeout": ("timeout",),
            "reset_peer": ("timeout",),
            "slicer": ("average_size", "size_variation", "delay"),
            "limit_data": ("bytes",),
        }.items()
    )


def test_latency_delays_everything_by_the_same():
    """Bytes are delayed from their arrival; the end follows the last byte."""
    line = DrivenChain(fault("latency", latency=1000))
    line.put(b"a").run(0.5).put(b"b").close().run()
    assert line.out == [(1.0, b"a"), (1.5, b"b"), (1.5, "end")]


def test_jitter_keeps_the_order():
    """What is delayed less waits for what is before it."""
    line = DrivenChain(fault("latency", latency=1000, jitter=1000))
    for number in range(100):
        line.put(bytes([number]))
    line.run()
    assert line.bytes == bytes(range(100))
    times = [at for at, _ in line.out]
    assert times == sorted(times)
    assert 1.5 < times[-1] <= 2


def test_jitter_is_on_both_sides():
    """Less than the latency as often as more."""
    delays = []
    line = DrivenChain(fault("latency", latency=1000, jitter=500))
    for _ in range(200):
        before = line.now
        line.put(b"x").run(10)
        delays.append(line.out[-1][0] - before)
    assert 0.5 <= min(delays) < 0.6
    assert 1.4 < max(delays) <= 1.5
    assert 0.9 < sum(delays) / 200 < 1.1


def test_bandwidth_spreads_bytes_over_time():
    """10 KB/s is a piece of 1,000 bytes every tenth of a second; the end follows the last piece."""
    line = DrivenChain(fault("bandwidth", rate=10))
    line.put(bytes(2500)).close().run()
    sizes = [(at, len(each)) for at, each in line.out[:-1]]
    assert sizes == [(0.1, 1000), (0.2, 1000), (0.25, 500)]
    assert line.out[-1] == (0.25, "end")


def test_bandwidth_is_not_saved_up():
    """A line that was idle is no faster for it."""
    line = DrivenChain(fault("bandwidth", rate=10)).run(100)
    line.put(bytes(2000)).run()
    assert line.out[-1][0] == 100.2


def test_bandwidth_of_nothing_lets_nothing_pass():
    """Not even the end, until it is changed: then it all comes."""
    line = DrivenChain(fault("bandwidth", rate=0))
    line.put(b"abc").close().run(1000)
    assert line.out == []
    line.change(fault("bandwidth", rate=1000)).run()
    assert line.words == [b"abc", "end"]


def test_slow_close_delays_the_end_alone():
    """Bytes pass at once."""
    line = DrivenChain(fault("slow_close", delay=2000))
    line.put(b"a").run(1).close().run()
    assert line.out == [(0.0, b"a"), (3.0, "end")]


def test_timeout_drops_and_closes_when_nothing_came_for_so_long():
    """Each byte begins the time again, as in toxiproxy."""
    line = DrivenChain(fault("timeout", timeout=1000))
    line.put(b"a").run(0.9).put(b"b").run()
    assert line.out == [(1.9, "close")]
    assert line.ended[0].by == "timeout_downstream"
    assert line.put(b"c").run().out == [(1.9, "close")]


def test_timeout_of_nothing_drops_for_ever():
    """The connection hangs; its sender's own end still passes."""
    line = DrivenChain(fault("timeout", timeout=0))
    line.put(b"a").run(1e6)
    assert (line.out, line.chain.buffered_bytes) == ([], 0)
    assert line.close().words == ["end"]


def test_a_timeout_that_is_removed_closes():
    """What it dropped nobody can make good; a session it did not act on goes on."""
    line = DrivenChain(fault("timeout", timeout=0))
    line.put(b"a").run(1).change()
    assert line.out == [(1.0, "close")]
    assert DrivenChain(fault("timeout", timeout=0, toxicity=0)).change().out == []


def test_reset_peer_resets_after_the_first_bytes():
    """They are lost, and so is what arrives before the reset."""
    line = DrivenChain(fault("reset_peer", timeout=500)).run(3)
    line.put(b"a").run(0.2).put(b"b").run()
    assert line.out == [(3.5, "reset")]
    assert line.chain.buffered_bytes == 0


def test_slicer_cuts_and_waits():
    """Pieces of about the size, a delay apart; the end follows the last delay."""
    line = DrivenChain(fault("slicer", average_size=10, size_variation=3, delay=100_000))
    data = bytes(range(250))
    line.put(data).close().run()
    assert line.bytes == data
    sizes = [len(each) for each in line.words[:-1]]
    assert all(7 <= size <= 13 for size in sizes[:-1])
    assert len(set(sizes)) > 3
    assert [at for at, _ in line.out] == [round(number / 10, 6) for number in range(len(sizes) + 1)]


def test_slicer_without_delay_only_cuts():
    """All at once, in pieces."""
    assert DrivenChain(fault("slicer", average_size=2)).put(b"abcde").words == [b"ab", b"cd", b"e"]


@pytest.mark.parametrize("pieces", [[b"abcdef"], [b"ab", b"cdef"], [b"abc", b"def"], [b"a"] * 6])
def test_limit_data_closes_after_so_many_bytes(pieces: list[bytes]):
    """To the byte, however they are read."""
    line = DrivenChain(fault("limit_data", bytes=3))
    for piece in pieces:
        line.put(piece)
    assert line.bytes == b"".join(pieces)[:3]
    assert line.words[-1] == "close"
    assert line.ended[0].by == "limit_data_downstream"


def test_limit_data_of_nothing_closes_at_the_first_byte():
    """A connection without a byte stays."""
    line = DrivenChain(fault("limit_data", bytes=0)).run()
    assert line.out == []
    assert line.put(b"a").words == ["close"]


def test_a_limit_counts_what_passed_before_it_was_changed():
    """A change of a fault is no new fault."""
    line = DrivenChain(fault("limit_data", bytes=10)).put(b"abcde")
    line.change(fault("limit_data", bytes=7)).put(b"fghij")
    assert line.words == [b"abcde", b"fg", "close"]
