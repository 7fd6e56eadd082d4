"""Parts of one capture, put together: nothing is lost or made up where one ends."""

import gzip
import struct
from collections import Counter

import pytest

from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded, SectionHeader
from lbcproxy.capture.tools.merge import Merger
from lbcproxy.errors import CaptureError
from lbcproxy.session import EventRouter
from lbcproxy.session.entry import UNKNOWN_SIZE
from lbcproxy.session.events import Delivered, SessionStarted, UpstreamConnected
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import TALK as CHANGED
from tests.capture.changed_traffic import record
from tests.capture.fake_sessions import NETWORK, UP, ping
from tests.capture.recording.recorded_sessions import RecordedSessions
from tests.capture.recordings import TALK, recorded
from tests.capture.roundtrip import CAPTURES, converted, entries_of, write_events
from tests.tools import CASES

PROBE, SYNC = CAPTURES
ROTATED = sorted((CASES / "rotated").iterdir(), key=lambda path: (len(path.name), path.name))


def merged(paths, out):
    """Merge files; return what became of which session, and the names of absent parts."""
    became = []
    merging = Merger([open_capture(path) for path in paths], lambda *each: became.append(each))
    write_events(merging.events(), out)
    return [(path, before, after) for path, before, after, _ in became], merging.absent


def facts_of(path):
    """Return what is to be the same of entries, whatever their numbers and sessions are."""
    return [{**each, "number": 0, "session": 0} for each in entries_of(path)]


def gaps(path):
    """Return the gaps by direction: how many bytes."""
    found = [(each["direction"], each["missing"]) for each in entries_of(path) if each["missing"]]
    return dict(found) if len(dict(found)) == len(found) else found


@pytest.mark.parametrize("order", [1, -1])
def test_the_parts_of_our_recording_are_one_session(tmp_path, order):
    """In whatever order they are given; singly they hold the same messages."""
    out = tmp_path / "merged.pcapng"
    became, absent = merged(ROTATED[::order], out)
    assert became == [(path, 1, 1) for path in ROTATED]
    assert not absent
    found = entries_of(out)
    assert (len(found), len({each["session"] for each in found})) == (204, 1)
    assert not gaps(out)
    assert facts_of(out) == [each for path in ROTATED for each in facts_of(path)]
    [began] = [each for each in events(open_capture(out)) if isinstance(each, SessionStarted)]
    assert began.from_start


@pytest.mark.parametrize("name", ["x.ndjson", "x.pcapng.gz", "x.ndjson.zst"])
def test_parts_may_be_of_several_formats(tmp_path, name):
    """Every second one written again in another."""
    paths = [
        converted(path, tmp_path / str(number), name) if number % 2 else path
        for number, path in enumerate(ROTATED)
    ]
    out = tmp_path / "merged.pcapng"
    merged(paths, out)
    assert facts_of(out) == [each for path in ROTATED for each in facts_of(path)]
    assert len({each["session"] for each in entries_of(out)}) == 1


def test_parts_that_were_compressed(tmp_path):
    """As `record_compress` leaves them."""
    paths = []
    for path in ROTATED:
        paths.append(tmp_path / (path.name + ".gz"))
        paths[-1].write_bytes(gzip.compress(path.read_bytes()))
    _, absent = merged(paths, tmp_path / "merged.pcapng")
    assert len(entries_of(tmp_path / "merged.pcapng")) == 204
    assert not absent


def packets_of(path):
    """Cut a pcap into its file header and its packets."""
    data = path.read_bytes()
    place, found = 24, []
    while place < len(data):
        size = struct.unpack_from("<I", data, place + 8)[0]
        found.append(data[place : place + 16 + size])
        place += 16 + size
    return data[:24], found


@pytest.mark.parametrize("case", ["rot", "m"])
@pytest.mark.parametrize("order", [1, -1])
def test_files_that_tcpdump_rotated(tmp_path, case, order):
    """As the same packets in one file: with a message across the border."""
    paths = [CASES / f"{case}0.pcap", CASES / f"{case}1.pcap"]
    head, _ = packets_of(paths[0])
    one = tmp_path / "one.pcap"
    one.write_bytes(head + b"".join(b"".join(packets_of(path)[1]) for path in paths))
    out = tmp_path / "merged.pcapng"
    merged(paths[::order], out)
    assert len(entries_of(out)) == {"rot": 7, "m": 6}[case]
    assert not gaps(out)
    assert facts_of(out) == facts_of(one)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("count", [2, 7, 40])
def test_a_capture_cut_into_files_anywhere(tmp_path, path, count):
    """Sessions that are open at a border go on, however often; closed ones do not come back."""
    head, packets = packets_of(path)
    step = -(-len(packets) // count)
    paths = []
    for number in range(count):
        paths.append(tmp_path / f"{number:02}.pcap")
        part = packets[number * step : (number + 1) * step]
        paths[-1].write_bytes(head + b"".join(part))
    out = tmp_path / "merged.pcapng"
    merged(paths[::-1], out)
    assert facts_of(out) == facts_of(path)
    assert Counter(each["session"] for each in entries_of(out)) == Counter(
        each["session"] for each in entries_of(path)
    )


def rotated(happened, folder, every):
    """Write events into files of some events each, as a recording that is rotated."""
    folder.mkdir()
    header, recorder, count, paths, file = SectionHeader(), None, 0, [], None

    class Newest:
        def session_started(self, info):
            return recorder.session_started(info)

    router = EventRouter(Newest())
    for event in happened:
        if isinstance(event, SectionHeader):
            header = event
            continue
        if recorder is None or count % every == 0:
            paths.append(folder / (f"x-{len(paths) + 1}.pcapng" if paths else "x.pcapng"))
            if file is not None:
                file.close()
            file = paths[-1].open("wb")
            new = Recorder(
                file.write,
                network=header.network or event.info.network,
                legs=header.legs,
                changes=header.changes,
                metadata={"name": "main"},
            )
            if recorder is not None:
                new.take_over(recorder, event.time_ns)
            recorder = new
        count += 1
        router.handle(event)
    file.close()
    return paths


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("legs", ["client", "both", "changed"])
def test_both_legs_of_sessions_and_what_was_decided(tmp_path, every, legs):
    """Rewritten messages, injected ones, dropped ones, at any place of a border."""
    if legs == "changed":
        path = record(tmp_path / "changed.pcapng", CHANGED)
    else:
        path = recorded(tmp_path, TALK, legs)
    whole = list(events(open_capture(path)))
    paths = rotated(whole, tmp_path / "parts", every)
    assert len(paths) > 1
    out = tmp_path / "merged.pcapng"
    merged(paths, out)
    assert facts_of(out) == facts_of(path)
    found = list(events(open_capture(out)))
    for kind in (SessionStarted, UpstreamConnected, CaptureSessionEnded):
        assert sum(isinstance(each, kind) for each in found) == sum(
            isinstance(each, kind) for each in whole
        )
    assert [
        (delivery.raw, delivery.sent)
        for each in found
        if isinstance(each, Delivered)
        for delivery in each.deliveries
        if delivery.entries[0].verdict != "pass"
    ] == [
        (delivery.raw, delivery.sent)
        for each in whole
        if isinstance(each, Delivered)
        for delivery in each.deliveries
        if delivery.entries[0].verdict != "pass"
    ]


def test_a_message_of_ours_across_a_border_is_whole(tmp_path):
    """A file does not wait for the end of a long one for ever."""
    long = frame(NETWORK.magic, "block", bytes(100_000))
    sessions = RecordedSessions(tmp_path, rotate_size=4096)
    sessions.start(1)
    sessions.start(2)
    for start in range(0, len(long), 1_500):
        sessions.now += 1_000
        sessions.receive(1, long[start : start + 1_500])
        sessions.receive(2, ping(start))
    sessions.end(1)
    sessions.end(2)
    paths = sessions.close()
    assert len(paths) > 3
    out = tmp_path / "out" / "merged.pcapng"
    out.parent.mkdir()
    merged(paths, out)
    found = [each["raw"] for each in entries_of(out) if each["session"] == 1]
    assert found == [long]
    assert not any(each["error"] for each in entries_of(out))


def many_parts(tmp_path):
    """Record pings of one session into several files; return them in order."""
    sessions = RecordedSessions(tmp_path, rotate_size=2000)
    sessions.start(1)
    for number in range(100):
        sessions.now += 1_000_000
        sessions.receive(1, ping(number))
    sessions.end(1)
    return sorted(sessions.close(), key=lambda path: (len(path.name), path.name))


def test_a_part_that_is_not_there_is_a_gap(tmp_path):
    """Of as many bytes as it held; its name is reported."""
    paths = many_parts(tmp_path)
    assert len(paths) > 4
    lost = sum(len(each["raw"]) for each in entries_of(paths[2]))
    out = tmp_path / "out" / "merged.pcapng"
    out.parent.mkdir()
    _, absent = merged([*paths[:2], *paths[3:]], out)
    assert absent == ["x-3.pcapng"]
    assert gaps(out) == {UP.value: lost}
    assert sum(not each["missing"] for each in entries_of(out)) == 100 - lost // 32
    assert len({each["session"] for each in entries_of(out)}) == 1


def test_the_first_part_is_not_there(tmp_path):
    """What follows is a session without its beginning."""
    paths = many_parts(tmp_path)
    out = tmp_path / "out" / "merged.pcapng"
    out.parent.mkdir()
    merged(paths[1:], out)
    [began] = [each for each in events(open_capture(out)) if isinstance(each, SessionStarted)]
    assert not began.from_start
    assert not gaps(out)


@pytest.mark.parametrize("differs", ["name", "client", "upstream", "session"])
def test_sessions_of_other_recordings_are_not_joined(tmp_path, differs):
    """Only what all parts of one say is believed: its number, who speaks, the proxy's name."""
    whole = list(events(open_capture(recorded(tmp_path, TALK, "client"))))
    [first, *_] = rotated(whole, tmp_path / "one", 3)
    *_, last = rotated(whole, tmp_path / "other", 3)
    data = last.read_bytes()
    info = next(each.info for each in whole if isinstance(each, SessionStarted))
    changed = {
        "name": (b'"name":"main"', b'"name":"othr"'),
        "session": (f'"session":{info.number},'.encode(), b'"session":8,'),
        "upstream": (str(info.upstream).encode(), str(info.upstream).encode()[:-1] + b"9"),
        "client": (b"\x7f\x00\x00\x01", b"\x7f\x00\x00\x02"),
    }[differs]
    assert data.count(changed[0])
    last.write_bytes(data.replace(*changed))
    out = tmp_path / "merged.pcapng"
    merged([first, last], out)
    assert sum(isinstance(each, SessionStarted) for each in events(open_capture(out))) == 2


def test_the_same_parts_twice_are_two_sessions(tmp_path):
    """Each copy goes on with a copy of its own."""
    out = tmp_path / "merged.pcapng"
    merged([*ROTATED, *ROTATED], out)
    assert Counter(each["session"] for each in entries_of(out)) == {1: 204, 2: 204}


def test_short_parts_twice_are_not_mixed_up(tmp_path):
    """Where one copy of a part has ended before the other begins, each has its own next part."""
    paths = rotated(list(events(open_capture(SYNC))), tmp_path / "parts", 1)
    out = tmp_path / "merged.pcapng"
    _, absent = merged([*paths, *paths], out)
    assert not absent
    assert not gaps(out)
    assert Counter(each["session"] for each in entries_of(out)) == {1: 400, 2: 400}


def test_damage_of_one_part_leaves_the_others(tmp_path):
    """What is missing then is reported where it is known."""
    paths = many_parts(tmp_path)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2])
    out = tmp_path / "out" / "merged.pcapng"
    out.parent.mkdir()
    with pytest.raises(CaptureError, match=r"x-2\.pcapng"):
        merged(paths, out)
    messages = sum(not each["missing"] for each in entries_of(out))
    assert gaps(out) == {UP.value: (100 - messages) * 32}


def test_many_parts_are_not_all_kept(tmp_path):
    """Of those whose sessions are over nothing is kept."""
    whole = list(events(open_capture(SYNC)))
    paths = rotated(whole, tmp_path / "parts", 10)
    merging = Merger([open_capture(path) for path in paths], lambda *_: None)
    kept = 0
    for _ in merging.events():
        kept = max(kept, len(merging._parts._assemblers))
    assert kept == 1


def test_a_part_of_an_older_recording_is_not_there(tmp_path):
    """It does not say how much was before; that one is missing is known from the names."""
    out = tmp_path / "merged.pcapng"
    _, absent = merged([*ROTATED[:2], *ROTATED[4:]], out)
    assert absent == ["a-3.pcapng", "a-4.pcapng"]
    assert gaps(out) == dict.fromkeys(("to_upstream", "to_client"), UNKNOWN_SIZE)
    assert sum(not each["missing"] for each in entries_of(out)) == 204 - 2 * 29


def test_recording_that_was_off_for_a_while(tmp_path):
    """The file that goes on says that nobody knows what passed."""
    sessions = RecordedSessions(tmp_path)
    sessions.start(1)
    sessions.receive(1, ping(1))
    session = sessions.recording._sessions[1]
    state = session._session.state.copy()
    session.leave()
    sessions.now += 1_000_000
    session.join(state, sessions.now)
    sessions.receive(1, ping(3))
    sessions.end(1)
    paths = sessions.close()
    assert len(paths) == 2
    out = tmp_path / "out" / "merged.pcapng"
    out.parent.mkdir()
    merged(paths, out)
    assert gaps(out) == dict.fromkeys(("to_upstream", "to_client"), UNKNOWN_SIZE)
    assert [each["raw"] for each in entries_of(out) if each["raw"]] == [ping(1), ping(3)]
