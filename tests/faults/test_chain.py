"""Faults together: order, chance, schedule, and changes while bytes are under way."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lbcproxy.faults import Fault, FaultChain, StreamEnd
from tests.faults.chains import DrivenChain, fault, sent


def a_latency(latency: int, jitter: int) -> Fault:
    return fault("latency", latency=latency, jitter=jitter)


def a_slicer(size: int, delay: int) -> Fault:
    return fault("slicer", average_size=size, size_variation=size // 2, delay=delay)


def a_while(latency: int) -> Fault:
    return fault("latency", latency=latency, after=50, start=0.1, lasts=0.2)


few = st.integers(0, 500)
KEEPING = st.one_of(
    st.builds(a_latency, few, few),
    st.builds(lambda rate: fault("bandwidth", rate=rate), st.integers(1, 50)),
    st.builds(a_slicer, st.integers(1, 200), st.integers(0, 5000)),
    st.builds(lambda delay: fault("slow_close", delay=delay), few),
    st.builds(a_while, few),
)


def named(faults: Sequence[Fault]) -> list[Fault]:
    """Return the faults, each with a name of its own."""
    return [replace(each, name=f"{number}") for number, each in enumerate(faults)]


chains = st.lists(KEEPING, max_size=4).map(named)
pieces = st.lists(st.integers(1, 700), max_size=12)


@given(chains, pieces)
def test_every_byte_comes_in_order_and_then_the_end(faults: list[Fault], sizes: list[int]):
    """Faults that delay, cut and slow down, one after the other."""
    line = DrivenChain(*faults)
    data = sent(line, sizes)
    line.close().run()
    assert line.bytes == data
    assert line.words[-1] == "end"
    assert line.words.count("end") == 1
    assert line.chain.buffered_bytes == 0


@pytest.mark.slow
@given(chains, chains, pieces, st.integers(0, 12))
def test_a_change_on_the_way_loses_nothing(
    before: list[Fault], after: list[Fault], sizes: list[int], place: int
):
    """Added, removed and changed faults keep the bytes and their order."""
    line = DrivenChain(*before)
    first = sent(line, sizes[:place])
    line.change(*after)
    second = sent(line, sizes[place:])
    line.change().close().run()
    assert line.bytes == first + second
    assert line.words[-1] == "end"
    assert line.chain.is_empty


@pytest.mark.slow
@given(chains, pieces, st.integers(0, 2**32), st.integers(1, 100))
def test_the_same_seed_gives_the_same(
    faults: list[Fault], sizes: list[int], seed: int, session: int
):
    """The same pieces at the same times come out as the same pieces at the same times."""
    lines = [DrivenChain(*faults, seed=seed, session=session) for _ in range(2)]
    for line in lines:
        sent(line, sizes)
        line.close().run()
    assert lines[0].out == lines[1].out


def test_another_seed_or_session_is_another_chance():
    """Or nothing would be learned from a second run."""

    def out(seed: int, session: int) -> list[object]:
        line = DrivenChain(fault("latency", latency=1000, jitter=1000), seed=seed, session=session)
        sent(line, [1] * 10)
        return list(line.run().out)

    assert out(1, 1) != out(2, 1)
    assert out(1, 1) != out(1, 2)
    assert out(1, 1) == out(1, 1)


def test_the_chances_of_a_seed_stay():
    """A seed that was written down is good for another version of Python, and of ours."""
    line = DrivenChain(fault("latency", latency=1000, jitter=500), seed=7, session=3)
    line.put(b"a").run(10).put(b"b").run()
    assert [round(at, 3) for at, _ in line.out] == SEVEN


SEVEN = [1.143, 11.077]


def test_how_late_the_caller_comes_changes_nothing_after_it():
    """A timer that fires late makes one piece late, not the delays of the next fault."""
    both = fault("latency", latency=100, name="a"), fault("latency", latency=100, name="b")
    prompt, late = DrivenChain(*both).put(b"x").run(), DrivenChain(*both).put(b"x")
    late.now = 0.15  # it was due in `a` at 0.1, and nobody came
    late.run()
    assert prompt.out == late.out == [(0.2, b"x")]


def test_faults_are_met_in_the_order_they_were_added():
    """Each begins with what came out of the one before it."""
    line = DrivenChain(fault("latency", latency=100), fault("bandwidth", rate=1))
    line.put(bytes(100)).run()
    assert line.out == [(0.2, bytes(100))]


def test_toxicity_is_a_share_of_the_sessions():
    """Of each session it is decided once."""
    hit = 0
    for session in range(1000):
        line = DrivenChain(fault("latency", latency=1000, toxicity=0.3), session=session)
        line.put(b"a").put(b"b").run()
        assert line.out in ([(0.0, b"a"), (0.0, b"b")], [(1.0, b"a"), (1.0, b"b")])
        hit += line.out[0][0] > 0
    assert 250 < hit < 350


def test_toxicity_may_change_for_open_sessions():
    """Whoever is hit by a third is hit by two thirds."""
    some = fault("latency", latency=1000, toxicity=0.3)
    more = fault("latency", latency=1000, toxicity=0.6)
    for session in range(50):
        line = DrivenChain(some, session=session)
        before = bool(line.chain.faults)
        line.change(more)
        assert not before or line.chain.faults
        line.change(some)
        assert bool(line.chain.faults) is before


def test_after_bytes_is_counted_to_the_byte():
    """Also in the middle of what was read at once."""
    line = DrivenChain(fault("latency", latency=1000, after=3)).put(b"ab").put(b"cdef").run()
    assert line.out == [(0.0, b"ab"), (0.0, b"c"), (1.0, b"def")]


def test_a_fault_acts_from_then_on_for_so_long():
    """What it holds when its time is over goes on at once."""
    line = DrivenChain(fault("latency", latency=1000, start=1, lasts=2))
    for _ in range(9):
        line.put(b"x").run(0.5)
    line.run()
    assert [at for at, _ in line.out] == [0.0, 0.5, 2.0, 2.5, 3.0, 3.0, 3.0, 3.5, 4.0]


def test_a_timeout_of_a_schedule_waits_from_when_it_began():
    """Silence before it does not count."""
    line = DrivenChain(fault("timeout", timeout=1000, start=5)).put(b"a").run(20)
    assert line.out == [(0.0, b"a"), (6.0, "close")]


def test_a_black_hole_may_be_over():
    """Bytes of its time are lost, later ones pass."""
    line = DrivenChain(fault("timeout", timeout=0, start=1, lasts=1))
    for word in (b"a", b"b", b"c"):
        line.put(word).run(1)
    assert line.words == [b"a", b"c"]


def test_a_fault_that_is_removed_gives_what_it_holds_to_the_next():
    """In order, in front of what comes later."""
    first = fault("latency", latency=9000, name="a")
    second = fault("slicer", average_size=2, name="b")
    line = DrivenChain(first, second).put(b"abc").run(1).change(second).put(b"d")
    assert line.out == [(1.0, b"ab"), (1.0, b"c"), (1.0, b"d")]


def test_a_change_of_attributes_holds_for_what_waits():
    """A latency that is made short lets what waited longer go."""
    line = DrivenChain(fault("latency", latency=9000)).put(b"a").run(1)
    line.change(fault("latency", latency=500)).put(b"b").run()
    assert line.out == [(1.0, b"a"), (1.5, b"b")]


def test_another_type_of_the_same_name_is_another_fault():
    """It comes last."""
    line = DrivenChain(fault("latency", latency=9000, name="x")).put(b"abc")
    line.change(fault("slicer", average_size=1, name="x")).put(b"de")
    assert line.words == [b"abc", b"d", b"e"]


def test_what_waits_is_counted():
    """Many small pieces cost more than their bytes."""
    chain = FaultChain([fault("latency", latency=9000)], lambda _: Random(1), 0.0)
    for _ in range(1000):
        chain.put(b"x", 0.0)
    assert chain.buffered_bytes > 100_000
    assert list(chain.release()) == [b"x"] * 1000
    assert (chain.buffered_bytes, chain.is_empty) == (0, True)


def test_release_gives_all_in_order():
    """Of the last fault first."""
    line = DrivenChain(
        fault("latency", latency=1000, name="a"), fault("latency", latency=1000, name="b")
    )
    line.put(b"1").run(1.5).put(b"2").close()
    first, second, end = line.chain.release()
    assert (first, second) == (b"1", b"2")
    assert isinstance(end, StreamEnd)
