"""Parts of captures: what is left is what was asked for, and reads as it did in the whole."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.tools import cut as module
from lbcproxy.capture.tools.cut import Cutter, Selection
from lbcproxy.endpoint import Endpoint
from lbcproxy.filters import parse
from lbcproxy.session import Direction, Session
from lbcproxy.session.events import Delivered, SessionStarted
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import TALK as CHANGED
from tests.capture.changed_traffic import inv, long, ping, record
from tests.capture.recordings import INFO, TALK, recorded
from tests.capture.roundtrip import (
    CAPTURES,
    entries_of,
    matching_entries,
    without_numbers,
    write_again,
    write_events,
)
from tests.session.feed import Feed
from tests.tools import tshark

UP, DOWN = Direction
MAGIC = networks.get("lbry-regtest").magic
PROBE, SYNC = CAPTURES


def cut(path: Path, out: Path, **selection) -> Cutter:
    """Cut a file and write what is left; a filter may be given as text."""
    if isinstance(selection.get("wanted"), str):
        selection["wanted"] = parse(selection["wanted"])
    cutting = Cutter(Selection(**selection))
    write_events(cutting.apply(events(open_capture(path))), out)
    return cutting


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_nothing_asked_for_leaves_all(tmp_path, path):
    """Byte for byte what telling it again gives."""
    out = tmp_path / "all.pcapng"
    cutting = cut(path, out)
    assert out.read_bytes() == write_again(path, tmp_path / "again.pcapng").read_bytes()
    assert (cutting.kept, cutting.left_out) == (len(entries_of(path)), 0)


@pytest.mark.parametrize(
    "text",
    [
        *("tx", "block", "not tx", "tx or inv", "size > 1000", "version", "verack", "error"),
        *('direction == "to_client"', "number > 60", "filterload", "session == 2 and not version"),
        *('version.user_agent =~ "old"', "headers and number > 80", "sendheaders"),
    ],
)
def test_a_filter_leaves_what_it_matches(tmp_path, text):
    """With the version that it was read with: session 2 had agreed on 60002."""
    out = tmp_path / "left.pcapng"
    wanted = parse(text)
    cutting = cut(PROBE, out, wanted=wanted)
    left = matching_entries(PROBE, wanted)
    found = without_numbers(entries_of(out))
    assert [each for each in found if each["command"] != "version" or each in left] == left
    assert cutting.kept == len(found)
    assert cutting.kept + cutting.left_out == 104
    assert cutting.sessions == len({each["session"] for each in found})


def test_versions_are_kept_where_the_rest_needs_them(tmp_path):
    """What comes before they have agreed is read with neither; after it one number tells all."""
    out = tmp_path / "left.pcapng"
    cut(PROBE, out, wanted="session == 2 and (verack or filterload)")
    # The node's verack comes after its version, and the client's after both.
    commands = [each["command"] for each in entries_of(out)]
    assert commands == ["verack", "verack", "filterload"]
    assert {each["version"] for each in entries_of(out)} == {60002}
    cut(PROBE, out, wanted='session == 2 and (filterload or version.user_agent =~ "old")')
    commands = [each["command"] for each in entries_of(out)]
    assert commands == ["version", "version", "filterload"]
    assert entries_of(out)[-1]["version"] == 60002
    assert "60002 was agreed" in entries_of(out)[-1]["error"]


def test_sessions_keep_their_numbers(tmp_path):
    """Whichever of them come first."""
    out = tmp_path / "left.pcapng"
    for wanted in ({2}, {1, 4}, {3, 5}, {5}, set()):
        cutting = cut(PROBE, out, sessions=frozenset(wanted))
        assert without_numbers(entries_of(out)) == matching_entries(
            PROBE, lambda e, wanted=wanted: e.session in wanted
        )
        assert cutting.sessions == len(wanted)


def two_at_once(tmp_path, count=2):
    """Record sessions that begin in order and speak in the opposite order."""
    path = tmp_path / "two.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest"))
        talks = []
        for number in range(1, count + 1):
            info = INFO.__class__(
                number=number,
                network="lbry-regtest",
                client=Endpoint("127.0.0.1", 40_000 + number),
                listen=INFO.listen,
                upstream=INFO.upstream,
            )
            recorder.started(info, number)
            talks.append((info, Session(number, networks.get("lbry-regtest"))))
        for time, (info, session) in enumerate([*reversed(talks), *talks], 100):
            recorder.passed(info, UP, session.receive(UP, ping(time), time), time)
    return path


def test_sessions_keep_their_numbers_in_another_order(tmp_path):
    """With a filter a session begins where something of it is left."""
    path = two_at_once(tmp_path, 3)
    out = tmp_path / "left.pcapng"
    cut(path, out, wanted="ping")
    assert [each["session"] for each in entries_of(out)] == [3, 2, 1, 1, 2, 3]
    assert without_numbers(entries_of(out)) == without_numbers(entries_of(path))


@pytest.mark.slow
def test_a_time_leaves_what_was_then(tmp_path):
    """From the first nanosecond to the last, both included."""
    out = tmp_path / "left.pcapng"
    times = [each["time_ns"] for each in entries_of(SYNC)]
    for first, last in ((0, 399), (0, 0), (100, 200), (1, 398), (3, 399), (399, 399)):
        begin, end = times[first], times[last]
        cutting = cut(SYNC, out, from_ns=begin, to_ns=end)
        left = matching_entries(SYNC, lambda entry: begin <= entry.time_ns <= end)  # noqa: B023
        found = without_numbers(entries_of(out))
        assert [each for each in found if begin <= each["time_ns"]] == left
        assert {each["command"] for each in found if each["time_ns"] < begin} <= {"version"}
        assert cutting.kept == len(found)
    started = [each for each in events(open_capture(out)) if isinstance(each, SessionStarted)]
    assert [(each.from_start, each.protocol_version) for each in started] == [(False, 70013)]


def test_an_end_that_came_later_is_not_reported(tmp_path):
    """The session is open where the part ends."""
    path = recorded(tmp_path, TALK)
    out = tmp_path / "left.pcapng"
    cut(path, out, to_ns=2_003)
    reports = []
    capture = open_capture(out)
    capture.on_session_ended = reports.append
    assert len(list(capture)) == 3
    assert [each.how for each in reports] == ["open at the end"]
    cut(path, out, from_ns=2_003)
    capture = open_capture(out)
    capture.on_session_ended = reports.append
    assert len(list(capture)) == 3
    assert [each.how for each in reports[1:]] == ["client closed"]
    assert not reports[1].begun


def test_an_end_that_came_before_is_reported(tmp_path):
    """The client had closed when the rest began."""
    path = tmp_path / "half.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest"))
        session = Session(1, networks.get("lbry-regtest"))
        recorder.started(INFO, 1)
        recorder.passed(INFO, UP, session.receive(UP, ping(1), 2), 2)
        recorder.finished(INFO, UP, 3)
        recorder.passed(INFO, DOWN, session.receive(DOWN, ping(2), 4), 4)
    out = tmp_path / "left.pcapng"
    cut(path, out, from_ns=4)
    assert [type(each).__name__ for each in events(open_capture(out))] == [
        *("SectionHeader", "SessionStarted", "DirectionClosed", "Delivered", "CaptureSessionEnded")
    ]


@pytest.mark.parametrize("verdict", ["drop", "inject", "rewrite"])
def test_verdicts_and_trails_are_kept(tmp_path, verdict):
    """With what went out in their place."""
    path = record(tmp_path / "changed.pcapng", CHANGED)
    out = tmp_path / "left.pcapng"
    cut(path, out, wanted=f'verdict == "{verdict}"')
    left = [each for each in CHANGED if each.verdict == verdict]
    assert left
    found = [
        (entry.verdict, entry.trail, entry.raw, delivery.sent)
        for event in events(open_capture(out))
        if isinstance(event, Delivered)
        for delivery in event.deliveries
        for entry in delivery.entries
    ]
    assert found == [(each.verdict, each.trail, each.frame, each.sent) for each in left]


def test_what_is_not_a_message_swallows_nothing(tmp_path):
    """A message that was cut off claims more bytes than it has; what comes next is not of it."""
    path = tmp_path / "gap.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest"))
        session = Session(1, networks.get("lbry-regtest"))
        recorder.started(INFO, 1)
        recorder.passed(INFO, UP, session.receive(UP, ping(1) + long(500)[:100], 2), 2)
        recorder.passed(INFO, UP, session.gap(UP, 424, 3), 3)
        recorder.passed(INFO, UP, session.receive(UP, inv(2) + ping(3), 4), 4)
    whole = [(each["command"], each["missing"]) for each in entries_of(path)]
    assert whole == [("ping", 0), ("", 0), ("", 424), ("inv", 0), ("ping", 0)]
    out = tmp_path / "left.pcapng"
    cut(path, out, wanted='ping or error =~ "cut off"')
    found = [(each["command"], each["missing"], each["raw"]) for each in entries_of(out)]
    assert found == [
        ("ping", 0, ping(1)),
        ("", 0, long(500)[:100]),
        ("", len(inv(2)), b""),
        ("ping", 0, ping(3)),
    ]


def test_buffered_versions_are_bounded(tmp_path, monkeypatch):
    """A client may send them for ever."""
    monkeypatch.setattr(module, "MAX_VERSIONS", 3)
    version = next(e.raw for e in open_capture(SYNC) if e.command == "version")
    path = recorded(tmp_path, [(UP, version)] * 10 + [(DOWN, ping(1))])
    out = tmp_path / "left.pcapng"
    cut(path, out, wanted="ping")
    assert [each["command"] for each in entries_of(out)] == ["version"] * 3 + ["ping"]


COMMANDS = ("version", "verack", "ping", "tx", "inv", "headers", "getdata", "filterload")


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    wanted=st.sets(st.sampled_from(COMMANDS)),
    sessions=st.none() | st.frozensets(st.integers(1, 5)),
    first=st.none() | st.integers(0, 103),
    last=st.none() | st.integers(0, 103),
)
def test_any_part_is_what_was_asked_for(tmp_path, wanted, sessions, first, last):
    """And `version` messages, where they are needed to read it."""
    times = [entry.time_ns for entry in open_capture(PROBE)]
    begin = None if first is None else times[first]
    end = None if last is None else times[last]
    out = tmp_path / "any.pcapng"
    text = " or ".join(sorted(wanted))
    cut(PROBE, out, wanted=text or None, sessions=sessions, from_ns=begin, to_ns=end)

    def matches(entry):
        return (
            (not wanted or entry.command in wanted)
            and (sessions is None or entry.session in sessions)
            and (begin is None or entry.time_ns >= begin)
            and (end is None or entry.time_ns <= end)
        )

    left = matching_entries(PROBE, matches)
    found = without_numbers(entries_of(out))
    assert [each for each in found if each["command"] != "version" or each in left] == left
    numbers = {each["session"] for each in left}
    assert {each["session"] for each in found} <= numbers


def test_a_frame_that_is_not_a_message_of_its_network_is_cut_too(tmp_path):
    """Junk keeps its bytes."""
    path = recorded(tmp_path, [(UP, b"rubbish" * 5 + frame(MAGIC, "ping", bytes(8)))])
    out = tmp_path / "left.pcapng"
    cut(path, out, wanted="not ping")
    assert [each["raw"] for each in entries_of(out)] == [b"rubbish" * 5]


@pytest.mark.slow
@pytest.mark.parametrize("selection", [{"wanted": "tx or inv"}, {"from_ns": 1_795_419_840 * 10**9}])
def test_wireshark_opens_what_is_left(tmp_path, selection):
    """Whole streams: it misses nothing, and finds nothing sent twice."""
    out = tmp_path / "left.pcapng"
    cut(PROBE, out, **selection)
    fields = ("-T", "fields", "-e", "tcp.stream", "-e", "tcp.analysis.flags", "-e", "tcp.len")
    rows = [line.split("\t") for line in tshark("-r", str(out), *fields).splitlines()]
    assert [row for row in rows if row[1]] == []
    assert sum(int(row[2]) for row in rows) == sum(len(each["raw"]) for each in entries_of(out))
