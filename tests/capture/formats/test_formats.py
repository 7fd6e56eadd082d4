"""Every format into every other: equal where both can hold it, and what they cannot is said."""

import gzip
from pathlib import Path

import pytest

from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.tools.convert import choose_format, open_writer
from lbcproxy.capture.writing import all_writers
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction
from tests.capture.changed_traffic import (
    TALK,
    TALK_UP,
    Step,
    dropped,
    injected,
    legs,
    long,
    passed,
    ping,
    record,
    rewritten,
)
from tests.capture.recordings import TALK as PLAIN
from tests.capture.recordings import pcap_of, recorded, segments_of
from tests.capture.roundtrip import (
    CAPTURES,
    FORMAT_PAIRS,
    FORMATS,
    LOSSLESS,
    converted,
    core_messages,
    entries_of,
    session_events,
)
from tests.memory import most

UP, DOWN = Direction
REGTEST = "lbry-regtest"


@pytest.mark.slow
@pytest.mark.parametrize("pair", FORMAT_PAIRS, ids=" to ".join)
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_captures_go_from_any_format_to_any(tmp_path: Path, path: Path, pair):
    """All of it comes back; of Core's files what they can hold."""
    first = converted(path, tmp_path / "1", pair[0])
    second = converted(first, tmp_path / "2", pair[1], REGTEST)
    if "core/" in pair:
        assert core_messages(second, REGTEST) == core_messages(path, REGTEST)
    else:
        assert entries_of(second) == entries_of(path)
        assert session_events(second) == session_events(path)


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("kind", ["auto", "client", "both"])
def test_junk_and_wrong_frames_are_kept(tmp_path: Path, name: str, kind: str):
    """Bytes that are not messages, wrong checksums, unfinished messages; both legs if there."""
    path = recorded(tmp_path, PLAIN, kind)
    other = converted(path, tmp_path / "1", name)
    assert entries_of(other) == entries_of(path)
    assert session_events(other) == session_events(path)
    back = converted(other, tmp_path / "2", "x.pcapng")
    assert legs(back) == legs(path)
    assert back.read_bytes() == converted(path, tmp_path / "3", "x.pcapng").read_bytes()


CHANGED = [
    *TALK,
    rewritten(UP, long(200_000), long(150_000)),
    rewritten(DOWN, long(70_000), ping(2) + ping(3) + b"loose"),
    Step(UP, "drop", b"what is this?" * 3, b""),
    passed(UP, ping(5)),
    injected(DOWN, b"no message at all"),
    passed(DOWN, ping(7)),
    Step(UP, "delay", ping(8), ping(8)),
]


@pytest.mark.parametrize("name", LOSSLESS)
def test_verdicts_trails_and_what_went_out_are_kept(tmp_path: Path, name: str):
    """Both legs come back, byte for byte."""
    path = record(tmp_path / "changed.pcapng", CHANGED)
    record(path, TALK)  # a second section
    other = converted(path, tmp_path / "1", name)
    assert entries_of(other) == entries_of(path)
    assert session_events(other) == session_events(path)
    back = converted(other, tmp_path / "2", "x.pcapng")
    assert legs(back) == legs(path)
    assert back.read_bytes() == converted(path, tmp_path / "3", "x.pcapng").read_bytes()


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("connected", [1, 3, 99])
def test_what_waited_for_its_upstream_is_kept(tmp_path: Path, name: str, connected: int):
    """It stands at its place in lines as well."""
    path = record(tmp_path / "late.pcapng", TALK_UP, connected=connected)
    other = converted(path, tmp_path / "1", name)
    assert sorted(map(str, entries_of(other))) == sorted(map(str, entries_of(path)))
    assert legs(converted(other, tmp_path / "2", "x.pcapng")) == legs(path)


@pytest.mark.parametrize("name", LOSSLESS)
def test_gaps_and_missing_beginnings_are_kept(tmp_path: Path, name: str):
    """How many bytes are missing, and where."""
    data = b"".join(map(ping, range(60)))
    segments = segments_of(data[10:], 100)
    path = pcap_of([*segments[:3], *segments[4:9], *segments[11:]], tmp_path)
    other = converted(path, tmp_path / "1", name)
    assert [each["missing"] for each in entries_of(other) if each["missing"]] == [100, 200]
    # Where bytes that are not a message end is known when the next message comes.
    said = [[each | {"time_ns": 0} for each in entries_of(one)] for one in (path, other)]
    assert said[0] == said[1]


def test_a_pcap_has_the_packets_of_gaps_and_missing_beginnings(tmp_path: Path):
    """There sequence numbers say it, so the reader finds it itself."""
    data = b"".join(map(ping, range(60)))
    segments = segments_of(data[10:], 100)
    path = pcap_of([*segments[:3], *segments[4:9], *segments[11:]], tmp_path)
    other = converted(path, tmp_path / "1", "x.pcap")
    said = [
        [(each["raw"], each["missing"], each["error"]) for each in entries_of(one)]
        for one in (path, other)
    ]
    assert said[0] == said[1]


def lacks(path: Path, out: Path) -> dict[str, int]:
    """What a format says that it cannot hold of a capture."""
    with open_writer(out, choose_format(out, "core" if out.name == "core" else None)) as writer:
        for event in events(open_capture(path)):
            writer.handle(event)
    return dict(writer.unsupported)


def test_what_a_format_cannot_hold_is_counted(tmp_path: Path):
    """Nothing is lost in silence."""
    path = record(tmp_path / "changed.pcapng", CHANGED)
    for name in ("x.pcapng", "x.ndjson"):
        assert lacks(path, tmp_path / name) == {}
    changed = sum(each.verdict != "pass" for each in CHANGED)
    assert lacks(path, tmp_path / "x.pcap") == {
        "addresses of upstreams": 1,
        "comments of the file": 1,
        "verdicts and what decided them": changed,
        "which connections are the legs of one session": 1,
    }
    assert lacks(path, tmp_path / "core") == {
        "addresses of the node's own": 1,
        "comments of the file": 1,
        "ends of sessions": 1,
        "networks: say --network": 1,
        "pieces that are not messages": 2,
        "verdicts and what decided them": changed,
    }


def test_a_pcap_of_both_legs_has_both_connections(tmp_path: Path):
    """Wireshark sees what was on each wire."""
    path = record(tmp_path / "changed.pcapng", CHANGED)
    assert legs(converted(path, tmp_path / "1", "x.pcap")) == legs(path)
    same = recorded(tmp_path, PLAIN, "both")
    assert len(legs(converted(same, tmp_path / "2", "x.pcap"))) == 1
    said = lacks(same, tmp_path / "y.pcap")
    assert said["upstream legs that are the same bytes again"] == 1


def test_an_empty_capture_is_one_in_every_format(tmp_path: Path):
    """Nothing happened; the file says that much."""
    path = tmp_path / "empty.pcapng"
    with path.open("wb") as file:
        Recorder(file.write, network=REGTEST)
    for name in FORMATS:
        if name != "core/":
            other = converted(path, tmp_path / name, name)
            assert entries_of(other) == []


def test_every_format_that_is_written_is_known_by_name():
    """The command line lists them without importing them."""
    from lbcproxy.cli.output import FORMATS as LISTED

    assert tuple(sorted(all_writers())) == LISTED


def test_two_sessions_of_one_address_have_two_folders(tmp_path: Path):
    """As of two runs of a proxy in one file."""
    path = record(tmp_path / "twice.pcapng", [passed(UP, ping(1))])
    record(path, [dropped(UP, ping(2)), passed(UP, ping(3))])
    other = converted(path, tmp_path / "1", "core/")
    assert sorted(each.name for each in other.iterdir()) == [
        "127.0.0.1_40001",
        "127.0.0.1_40001-2",
    ]
    # What did not reach the upstream is not in its files.
    found = sorted(entry.raw for entry in open_capture(other, REGTEST))
    assert found == sorted([ping(1), ping(3)])


def test_a_file_is_there_when_it_is_whole(tmp_path: Path):
    """Nothing half written lies about under its name; what was there before stays."""
    out = tmp_path / "x.pcapng"
    with pytest.raises(ZeroDivisionError), open_writer(out, choose_format(out)):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError), open_writer(out, choose_format(out)):
        pass
    with (
        pytest.raises(CaptureError, match="no place"),
        open_writer(out, choose_format(out), force=True),
    ):
        raise CaptureError("no place")
    assert out.read_bytes() == b"mine"
    with (
        pytest.raises(CaptureError, match="at byte 7"),
        open_writer(out, choose_format(out), force=True),
    ):
        raise CaptureError("damaged", 7)
    assert entries_of(out) == []
    assert list(tmp_path.iterdir()) == [out]


def test_a_packed_file_is_what_other_programs_unpack(tmp_path: Path):
    """Gzip is the standard's, with no time in it: the same capture gives the same file."""
    plain = converted(CAPTURES[0], tmp_path / "1", "x.pcapng")
    packed = converted(CAPTURES[0], tmp_path / "2", "x.pcapng.gz")
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    again = converted(CAPTURES[0], tmp_path / "3", "x.pcapng.gz")
    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap", "x.ndjson.gz", "x.pcapng.zst", "core/"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str):
    """Nothing of what was read is kept, nor of what was written."""
    sizes = []
    path = tmp_path / "many.pcapng"
    for count in (5, 50):
        for _ in range(count):
            record(path, TALK)
        sizes.append(most(lambda: converted(path, tmp_path / str(len(sizes)), name)))
    assert sizes[1] < sizes[0] + 200_000


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "999999999999.5"])
@pytest.mark.parametrize("name", ["x.pcapng", "x.pcap", "core", "x.ndjson"])
def test_times_that_no_file_holds_are_said(tmp_path: Path, time: str, name: str):
    """A clock may be anything; what passed is kept."""
    source = tmp_path / "odd.ndjson"
    source.write_text(
        f'{{"event":"started","time":"{time}","session":1,"network":"{REGTEST}",'
        '"client":"10.0.0.1:1","listen":"10.0.0.2:2"}\n'
        f'{{"time":"{time}","session":1,"direction":"to_upstream","command":"ping",'
        '"payload":"0000000000000000"}\n'
    )
    said = lacks(source, tmp_path / name)
    assert any("times" in each for each in said) == (name != "x.ndjson")
    assert len(entries_of(tmp_path / name, REGTEST)) == 1
