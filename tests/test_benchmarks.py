"""The benchmarks run, with next to nothing to do, and say rightly what is met."""

import importlib.util
import socket

import pytest

from benchmarks import contestants, encrypted, forward, plots, readers, round_trip, start
from benchmarks.blocks import NETWORK
from benchmarks.contestants import Contestant
from benchmarks.ends import many_sent, sink
from benchmarks.measure import Absent, Figure, Target
from benchmarks.report import held, markdown, plain, tables
from benchmarks.traffic import HELLO, VERACK, blocks, buffer_of, filler, transactions
from lbcproxy.session import Direction, Session
from lbcproxy.transport.curve import MissingLibrary
from tests.tools import absent

pytestmark = pytest.mark.slow

TINY = 0.002
OURS = (contestants.DIRECT, contestants.TWISTED, contestants.LBCPROXY)
"""Those that are there wherever the tests are."""


def figures(found):
    return {(each.work, each.who): each for each in found if isinstance(each, Figure)}


def test_frames_have_the_size_they_are_named_for_and_are_sound():
    """What is measured is what a node would send: nobody may find an error in it."""
    short, long = transactions(5), blocks(3, 100_000)
    assert {len(each) for each in short} == {300}
    assert all(95_000 < len(each) < 105_000 for each in long)
    assert len(filler(1234)) == 1234
    buffer, count = buffer_of([*short, *long], 400_000)
    session = Session(1, NETWORK, stream_above=None)
    session.receive(Direction.TO_CLIENT, HELLO, 0)
    passed = session.receive(Direction.TO_UPSTREAM, HELLO + VERACK + buffer, 0)
    entries = [entry for each in passed for entry in each.entries]
    assert len(entries) == 2 + count
    assert [each.error for each in entries if each.error] == []


def test_forwarding_is_measured(monkeypatch):
    """A complete recording is asked for on the way."""
    nobody = Contestant("nobody", "no-such", lambda *_: ())
    broken = Contestant("broken", "false", lambda program, *_: (program,))
    monkeypatch.setattr(contestants, "ALL", (*OURS, nobody, broken))
    found = list(forward.measure(1, TINY))
    missing = [each.who for each in found if isinstance(each, Absent)]
    assert missing == ["nobody", "broken", "broken"]
    names = {who.who for who in OURS}
    assert {who for work, who in figures(found) if work == forward.WORKS[0].name} == names


def test_what_encryption_costs_is_measured(monkeypatch):
    """Each target has its figures, and the recording holds the frames of all packets."""
    pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")
    found = list(encrypted.measure(1, TINY))
    assert [each.why for each in found if isinstance(each, Absent)] == []
    assert all(each.reached for each in held(found, encrypted.TARGETS))


def test_without_the_libraries_encryption_is_absent(monkeypatch):
    """The other benchmarks go on."""

    def missing(**_):
        raise MissingLibrary("coincurve")

    monkeypatch.setattr(encrypted, "_new_transport", missing)
    [left_out] = encrypted.measure(1, TINY)
    assert left_out.who == "lbcproxy, v2"


def test_a_recording_that_is_not_complete_is_an_error():
    """A fast recorder that loses messages wins nothing."""
    twisted = contestants.TWISTED

    def command(program, listen, upstream, folder):
        (folder / contestants.RECORDING).write_bytes(b"hardly anything")
        return twisted.command(program, listen, upstream, folder)

    forgetful = Contestant("forgetful", twisted.program, command, records=True)
    with pytest.raises(RuntimeError, match="forgetful has recorded 15 of 3,000"):
        forward.forward(forgetful, bytes(3_000), 1)


def test_round_trips_readers_and_the_start_are_measured(monkeypatch):
    """Each gives a figure for us and one to compare it with."""
    monkeypatch.setattr(round_trip, "WHO", OURS)
    trips = figures(round_trip.measure(1, TINY))
    assert {who for _, who in trips} == {who.who for who in OURS}
    assert all(each.value > 0 for each in trips.values())
    assert len(figures(readers.measure(1, TINY))) == 4
    assert {work for work, _ in figures(start.measure(1))} >= {"--help", "ready to accept"}


def test_many_sessions_share_what_is_sent():
    """Every session brings its part, and the sink tells when all is there."""
    with sink(5 * 3 * 1_000, 5) as (port, end), many_sent(port, bytes(1_000), 3, 5) as begin:
        assert begin.tells() < end.tells()


def test_a_free_port_is_one_nobody_has():
    """Contestants get the port to listen at."""
    with socket.create_server(("127.0.0.1", contestants.free_port())) as taken:
        assert contestants.free_port() != taken.getsockname()[1]


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (2.0, True, "met"),
        (1.9, True, "not met"),
        (1.1, True, "failed"),
        (2.0, False, "met"),
        (3.3, False, "not met"),
        (3.4, False, "failed"),
    ],
)
def test_a_target_is_met_missed_or_failed(value, at_least, verdict):
    """Under 0.6 of a target, or over 1/0.6 of a bound, is a failure."""
    measured = [
        Figure(work="w", who=who, value=each, low=each, high=each, unit="s")
        for who, each in (("lbcproxy", value), ("other", 1.0))
    ]
    target = Target(work="w", rival="other", ratio=2.0, at_least=at_least)
    assert [each.verdict for each in held(measured, [target])] == [verdict]
    assert [each.verdict for each in held(measured[1:], [target])] == ["not measured"]
    shown = list(tables(measured, [Absent("third", "why not")], [target]))
    assert verdict in plain(shown[1])
    assert "| third | why not |" in markdown(shown[2])


def test_plots_are_drawn_of_what_there_is(tmp_path):
    """Figures that are not there leave a gap; without any there is no plot."""
    if importlib.util.find_spec("matplotlib") is None:
        absent("matplotlib is not installed: it is in the extra bench")
    assert plots.draw([], tmp_path) == []
    work = forward.WORKS[0].name
    one = Figure(work=work, who="lbcproxy", value=2.0, low=1.0, high=3.0, unit="MB/s")
    assert plots.draw([one], tmp_path) == [tmp_path / "forward.svg"]
