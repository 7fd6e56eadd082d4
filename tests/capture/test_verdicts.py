"""Captures of what was changed: what came in, what went out, and what became of it."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings

from lbcproxy.capture import Recorder, open_capture
from lbcproxy.errors import CaptureError
from lbcproxy.session import (
    Direction,
    Entry,
    Session,
)
from tests.capture.changed_traffic import (
    DOWN,
    NETWORK,
    TALK,
    TALK_UP,
    UP,
    Step,
    any_steps,
    delivery_of,
    dropped,
    injected,
    legs,
    long,
    passed,
    ping,
    record,
    rewritten,
    session_info,
    summary_of,
)
from tests.session.feed import Feed
from tests.tools import tshark


def assert_steps_read(entries: list[Entry], steps: list[Step], *, first: int = 1) -> None:
    """Every step is there once, in order, with all that is known of it."""
    rows = [(each.session, each.direction, each.verdict, each.trail, each.raw) for each in entries]
    assert rows == [
        (each.session, each.direction, each.verdict, each.trail, each.frame) for each in steps
    ]
    assert [each.number for each in entries] == list(range(first, first + len(steps)))


# One capture, all verdicts.


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_each_message_is_read_once_with_its_verdict(tmp_path: Path, together: bool):
    """Both legs are in the file; what passed is on both, and still is one message."""
    path = record(tmp_path / "changed.pcapng", TALK, together=together)
    entries = list(open_capture(path))
    assert_steps_read(entries, TALK)
    assert {each.session for each in entries} == {1}
    assert [each.error for each in entries] == [None] * len(TALK)


def test_each_leg_holds_what_passed_on_its_wire(tmp_path: Path):
    """What came in stands where it came in, what went out where it went out; no byte more."""
    client, upstream = legs(record(tmp_path / "changed.pcapng", TALK))
    up = [each for each in TALK if each.direction is UP]
    down = [each for each in TALK if each.direction is DOWN]
    assert client == (b"".join(e.raw for e in up), b"".join(e.sent for e in down))
    assert upstream == (b"".join(e.sent for e in up), b"".join(e.raw for e in down))


def test_times_are_those_of_the_recording(tmp_path: Path):
    """In order, to the nanosecond, whichever leg a message is read from."""
    times = [each.time_ns for each in open_capture(record(tmp_path / "a.pcapng", TALK))]
    assert times == sorted(times)
    assert {b - a for a, b in itertools.pairwise(times)} == {1_000}


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("size", [65_000, 65_536, 200_000, 1_000_000])
def test_a_message_of_many_packets_has_one_verdict(tmp_path: Path, direction: Direction, size: int):
    """Blocks are larger than a packet; what is said of them is said of the whole."""
    steps = [
        passed(direction, ping(1)),
        rewritten(direction, long(size), long(size - 10, "stripped")),
        passed(direction, ping(2)),
        dropped(direction, long(size)),
        passed(direction, ping(3)),
        injected(direction, long(size)),
        passed(direction, ping(4)),
        passed(direction, long(size)),
    ]
    assert_steps_read(list(open_capture(record(tmp_path / "long.pcapng", steps))), steps)


def test_what_came_before_the_upstream_connected_is_read(tmp_path: Path):
    """A client's version is dropped long before its upstream hears ours."""
    for connected in range(1, 5):
        path = record(tmp_path / f"late-{connected}.pcapng", TALK_UP, connected=connected)
        entries = list(open_capture(path))
        # What went out before there was a leg is where the leg begins.
        assert sorted(each.raw for each in entries) == sorted(each.frame for each in TALK_UP)
        assert {each.raw: each.verdict for each in entries} == {
            each.frame: each.verdict for each in TALK_UP
        }
        assert len({each.number for each in entries}) == len(TALK_UP)
        streams = [
            (b"".join(e.raw for e in TALK_UP), b""),
            (b"".join(e.sent for e in TALK_UP), b""),
        ]
        assert legs(path) == streams


def test_a_session_without_an_upstream_is_read(tmp_path: Path):
    """It refused; what the client had said is in the file."""
    steps = [dropped(UP, ping(1)), injected(DOWN, ping(2))]
    path = record(tmp_path / "alone.pcapng", steps, connected=99)
    assert_steps_read(list(open_capture(path)), steps)
    assert len(legs(path)) == 1


def test_sessions_at_the_same_time_keep_their_numbers(tmp_path: Path):
    """Both legs of a session are that session, whoever speaks in between."""
    steps = [
        Step(each.direction, each.verdict, each.raw, each.sent, session)
        for each in TALK
        for session in (1, 2, 3)
    ]
    assert_steps_read(list(open_capture(record(tmp_path / "three.pcapng", steps))), steps)


def test_a_file_that_was_continued_is_read_through(tmp_path: Path):
    """A second run knows nothing of the first; its sessions and messages are others."""
    path = record(tmp_path / "twice.pcapng", TALK)
    record(path, TALK)
    entries = list(open_capture(path))
    assert_steps_read(entries[: len(TALK)], TALK)
    again = [each._replace(session=2) for each in TALK]
    assert_steps_read(entries[len(TALK) :], again, first=len(TALK) + 1)


def test_a_capture_with_changes_may_follow_one_without(tmp_path: Path):
    """Each part of a file says for itself whether its legs differ."""
    path = tmp_path / "mixed.pcapng"
    relayed(path, "both")
    record(path, TALK)
    relayed(path, "client")
    entries = list(open_capture(path))
    plain = [passed(UP, ping(1)), passed(DOWN, ping(2))]
    wanted = [
        *plain,
        *(each._replace(session=2) for each in TALK),
        *(each._replace(session=3) for each in plain),
    ]
    assert_steps_read(entries, wanted)


@pytest.mark.parametrize("kind", ["auto", "client", "both"])
def test_a_relays_capture_tells_each_message_once(tmp_path: Path, kind: str):
    """Nothing is changed in it: both legs are the same."""
    path = tmp_path / "relay.pcapng"
    relayed(path, kind)
    assert len(legs(path)) == 1 + (kind == "both")
    assert_steps_read(list(open_capture(path)), [passed(UP, ping(1)), passed(DOWN, ping(2))])


def relayed(path: Path, kind: str) -> None:
    """Append what a relay records."""
    with path.open("ab") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id, legs=kind))
        session = Session(1, NETWORK)
        recorder.started(session_info(1), 1_000)
        recorder.upstream_connected(session_info(1), 2_000)
        for time, direction, raw in ((3_000, UP, ping(1)), (4_000, DOWN, ping(2))):
            recorder.passed(session_info(1), direction, session.receive(direction, raw, time), time)
        recorder.ended(summary_of(1), 5_000)


def test_the_client_leg_alone_is_not_a_lie(tmp_path: Path):
    """Whoever asks for one leg of changed traffic gets it: what its wire had, with verdicts."""
    path = tmp_path / "client.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id, legs="client", changes=True))
        recorder.started(session_info(1), 1)
        recorder.upstream_connected(session_info(1), 2)
        for number, step in enumerate(TALK, 1):
            recorder.passed(
                session_info(1), step.direction, [delivery_of(step, number, number)], number
            )
        recorder.ended(summary_of(1), 99)
    on_wire = [
        Step(each.direction, each.verdict, raw, raw)
        for each in TALK
        if (raw := each.raw if each.direction is UP else each.sent)
    ]
    assert_steps_read(list(open_capture(path)), on_wire)
    [client] = legs(path)
    assert client == tuple(
        b"".join(each.raw for each in on_wire if each.direction is way) for way in (UP, DOWN)
    )


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 61])
def test_a_recording_that_was_cut_short_tells_nothing_twice(tmp_path: Path, step: int):
    """After a crash as well: a beginning of what happened, and not a message more."""
    talk = TALK if step == 1 else [*TALK, rewritten(UP, long(70_000), long(69_000))]
    whole = record(tmp_path / "whole.pcapng", talk, ends=False).read_bytes()
    path = tmp_path / "cut.pcapng"
    most = [each.frame for each in talk]
    sizes = range(len(whole) - (5_000 if step == 1 else 150_000), len(whole), step * 10)
    for size in sizes:
        path.write_bytes(whole[: max(size, 0)])
        got: list[bytes] = []
        try:
            for entry in open_capture(path):
                if entry.message is not None:
                    got.append(entry.raw)
        except CaptureError:
            pass
        assert got == most[: len(got)]


@settings(deadline=None, max_examples=60)
@given(any_steps())
def test_any_messages_and_verdicts_are_read_as_recorded(tmp_path_factory, drawn):
    """Whatever is decided of whatever message, in whatever order."""
    steps, _ = drawn
    path = record(tmp_path_factory.mktemp("any") / "any.pcapng", steps)
    assert_steps_read(list(open_capture(path)), steps)


# Wireshark.


@pytest.mark.slow
def test_wireshark_finds_both_connections_in_order(tmp_path: Path):
    """No segment is lost, repeated or out of order, and each is followed to the same bytes."""
    steps = [*TALK, rewritten(DOWN, long(200_000), long(100_000)), *TALK]
    path = record(tmp_path / "changed.pcapng", steps)
    assert tshark("-r", str(path), "-Y", "tcp.analysis.flags || _ws.malformed") == ""
    streams = tshark("-r", str(path), "-T", "fields", "-e", "tcp.stream").split()
    assert set(streams) == {"0", "1"}
    for number, leg in enumerate(legs(path)):
        sides: list[list[str]] = [[], []]
        for line in tshark("-r", str(path), "-q", "-z", f"follow,tcp,raw,{number}").splitlines():
            text = line.strip()
            if text and set(text) <= set("0123456789abcdef"):
                sides[line.startswith("\t")].append(text)
        assert tuple(bytes.fromhex("".join(side)) for side in sides) == leg


@pytest.mark.slow
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_wireshark_shows_what_became_of_a_message(tmp_path: Path, together: bool):
    """In the packet's comment, on the legs on which something is of it."""
    path = record(tmp_path / "changed.pcapng", TALK, together=together)
    fields = ["-T", "fields", "-e", "tcp.stream", "-e", "frame.comment"]
    lines = tshark("-r", str(path), "-Y", 'frame.comment contains "verdict="', *fields).splitlines()
    shown = [line.split("\t") for line in lines]
    verdicts = sorted(
        (stream, words.partition("verdict=")[2].split()[0]) for stream, words in shown
    )
    assert all(" by " in words for _, words in shown)
    legs_of = {"drop": {UP: "0", DOWN: "1"}, "inject": {UP: "1", DOWN: "0"}}
    wanted = []
    for step in TALK:
        if step.verdict == "rewrite":
            wanted += [("0", "rewrite"), ("1", "rewrite")]
        elif step.verdict != "pass":
            wanted.append((legs_of[step.verdict][step.direction], step.verdict))
    assert verdicts == sorted(wanted)
