"""Captures put together: everything of each, in order of time, under numbers that are its own."""

from collections import defaultdict

import pytest

from lbcproxy import networks
from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.tools.merge import Merger
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction, Session, SessionInfo
from lbcproxy.session.events import Delivered, UpstreamConnected
from tests.capture.changed_traffic import TALK as CHANGED
from tests.capture.changed_traffic import ping, record
from tests.capture.recordings import TALK, record_pings, recorded
from tests.capture.roundtrip import CAPTURES, entries_of, session_events, write_events
from tests.memory import held_after
from tests.session.feed import Feed

UP, DOWN = Direction
PROBE, SYNC = CAPTURES


def merged(paths, out):
    """Merge files; return the file and old number of each session, by its new number."""
    became = {}

    def note(path, before, after, network):
        became[after] = path, before

    merging = Merger([open_capture(path) for path in paths], note)
    write_events(merging.events(), out)
    return became


def alike(path, session):
    """Return what is to be the same of a session's entries, whatever it is called."""
    return [
        {key: value for key, value in each.items() if key not in ("number", "session")}
        for each in entries_of(path)
        if each["session"] == session
    ]


@pytest.mark.slow
@pytest.mark.parametrize("paths", [(SYNC,), (SYNC, PROBE), (PROBE, SYNC), (PROBE, PROBE, SYNC)])
def test_every_session_is_there_as_it_was(tmp_path, paths):
    """Also of a file that is given twice: the same connections, at the same time."""
    out = tmp_path / "merged.pcapng"
    became = merged(paths, out)
    assert sorted(became) == list(range(1, len(became) + 1))
    for after, (path, before) in became.items():
        assert alike(out, after) == alike(path, before)
    found = entries_of(out)
    assert len(found) == sum(len(entries_of(path)) for path in paths)
    assert [each["number"] for each in found] == list(range(1, len(found) + 1))
    times = [each["time_ns"] for each in found]
    assert times == sorted(times)


def test_events_of_sessions_stay_those_of_the_same_sessions(tmp_path):
    """Who they were between, and how they ended."""
    out = tmp_path / "merged.pcapng"
    became = merged([PROBE], out)
    assert became == {number: (PROBE, number) for number in range(1, 6)}
    assert session_events(out) == session_events(PROBE)


def test_times_that_run_back_break_nothing(tmp_path):
    """The file keeps its own order; nothing is lost."""
    one = record_pings(tmp_path / "one.pcapng", 7, [10, 30, 20, 5, 40])
    other = record_pings(tmp_path / "other.pcapng", 7, [15, 35])
    out = tmp_path / "merged.pcapng"
    became = merged([one, other], out)
    assert became == {1: (one, 7), 2: (other, 7)}
    found = defaultdict(list)
    for each in entries_of(out):
        found[each["session"]].append(each["time_ns"])
    assert found == {1: [10, 30, 20, 5, 40], 2: [15, 35]}


def test_each_session_keeps_its_network(tmp_path):
    """Also where two share a magic."""
    one = record_pings(tmp_path / "one.pcapng", 1, [10, 30], "bitcoin-simnet")
    other = record_pings(tmp_path / "other.pcapng", 1, [20, 40], "lbry-simnet")
    out = tmp_path / "merged.pcapng"
    merged([one, other], out)
    assert [each["network"] for each in entries_of(out)] == [
        *("bitcoin-simnet", "lbry-simnet", "bitcoin-simnet", "lbry-simnet")
    ]


@pytest.mark.parametrize("first", [True, False])
def test_both_legs_beside_one(tmp_path, first):
    """What has one leg gets the other; what was decided of the others stays."""
    changed = record(tmp_path / "changed.pcapng", CHANGED)
    paths = [SYNC, changed] if first else [changed, SYNC]
    out = tmp_path / "merged.pcapng"
    became = merged(paths, out)
    assert len(became) == len({each.session for each in CHANGED}) + 1
    for after, (path, before) in became.items():
        assert alike(out, after) == alike(path, before)
    sent = [
        delivery.sent
        for event in events(open_capture(out))
        if isinstance(event, Delivered)
        for delivery in event.deliveries
        if delivery.entries[0].verdict != "pass"
    ]
    assert sent == [each.sent for each in CHANGED if each.verdict != "pass"]
    assert sum(isinstance(each, UpstreamConnected) for each in events(open_capture(out))) == len(
        became
    )


def test_a_plain_file_with_both_legs_beside_one_leg(tmp_path):
    """Nothing waits for a leg that never comes."""
    both = recorded(tmp_path, TALK, "both")
    out = tmp_path / "merged.pcapng"
    became = merged([both, SYNC], out)
    for after, (path, before) in became.items():
        assert alike(out, after) == alike(path, before)


def test_damage_ends_one_file_alone(tmp_path):
    """What precedes it is there, and all of the others; then it is reported, with the offset."""
    whole = SYNC.read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "merged.pcapng"
    good = next(each for each in entries_of(PROBE) if each["session"] == 5)
    with pytest.raises(
        CaptureError, match=r"cut\.pcap: .* \(at byte [\d,]+ of the file\)"
    ) as error:
        merged([cut, PROBE], out)
    assert error.value.offset is not None
    found = entries_of(out)
    assert 104 + 100 < len(found) < 104 + 400
    assert good["raw"] in [each["raw"] for each in found]


def test_what_is_not_a_capture_is_reported_at_once(tmp_path):
    """And nothing is merged."""
    empty = tmp_path / "empty.pcapng"
    empty.write_bytes(b"")
    with pytest.raises(CaptureError, match="empty file"):
        next(Merger([open_capture(SYNC), open_capture(empty)], lambda *_: None).events())


def test_a_file_whose_sections_differ_is_refused(tmp_path):
    """What it needs is known too late."""
    path = record_pings(tmp_path / "two.pcapng", 1, [10, 20])
    record(path, CHANGED)
    with pytest.raises(CaptureError, match="cut it in two by session"):
        merged([path, SYNC], tmp_path / "merged.pcapng")


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """Neither with the length of files, nor with the number of sessions."""
    path = tmp_path / "many.pcapng"
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network="lbry-regtest"))
        for number in range(1, 4_501):
            info = SessionInfo(
                number=number,
                network="lbry-regtest",
                client=Endpoint("127.0.0.1", 1_000 + number % 100),
                listen=Endpoint("127.0.0.1", 2),
                upstream=Endpoint("127.0.0.1", 3),
            )
            session = Session(number, networks.get("lbry-regtest"))
            recorder.started(info, number)
            recorder.passed(info, UP, session.receive(UP, ping(1), number), number)
            for direction in Direction:
                recorder.finished(info, direction, number)
    merging = Merger([open_capture(path), open_capture(path)], lambda *_: None)
    messages = (each for each in merging.events() if isinstance(each, Delivered))
    held = held_after(messages, 3_000, 8_000)
    assert held[1] - held[0] < 20_000, held
