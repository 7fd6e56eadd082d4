"""Lines of JSON: lossless out and in, readable as `show` prints them, and hostile ones refused."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import UnknownNetwork, events, open_capture
from lbcproxy.capture.entry_json import entry_object, json_line
from lbcproxy.capture.formats import ndjson
from lbcproxy.capture.writing import ndjson as writing
from lbcproxy.session.events import SessionStarted
from lbcproxy.text import iso_time, time_of_iso
from lbcproxy.wire.envelope import frame
from tests import memory
from tests.capture.changed_traffic import TALK, record
from tests.capture.recordings import TALK as PLAIN
from tests.capture.recordings import recorded
from tests.capture.roundtrip import CAPTURES, converted, entries_of, read_until_error

REGTEST = networks.get("lbry-regtest")
PING = frame(REGTEST.magic, "ping", bytes(8))
STARTED = {
    "event": "started",
    "time": "2026-01-01T00:00:00.000000000Z",
    "session": 1,
    "network": "lbry-regtest",
    "client": "10.0.0.1:1",
    "listen": "10.0.0.2:2",
}
MESSAGE = {
    "number": 1,
    "time": "2026-01-01T00:00:00.000000001Z",
    "session": 1,
    "direction": "to_upstream",
    "command": "ping",
    "length": 8,
    "payload": "0000000000000000",
}


def lines(tmp_path: Path, *objects: object) -> Path:
    """A file of lines; text stands as it is."""
    path = tmp_path / "x.ndjson"
    text = [each if isinstance(each, str) else json.dumps(each) for each in objects]
    path.write_text("\n".join(text) + "\n")
    return path


def shown(path: Path, *, payload: bool) -> list[str]:
    """What `show -T ndjson` prints, with -x or without."""
    return [json_line(entry_object(each, payload)) for each in open_capture(path)]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_what_show_prints_is_what_the_file_holds(tmp_path: Path, path: Path):
    """One declaration: the messages' lines are the same."""
    out = converted(path, tmp_path, "x.ndjson").read_text().splitlines()
    assert [each for each in out if '"event":' not in each[:10]] == shown(path, payload=True)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_what_show_prints_is_read(tmp_path: Path, path: Path):
    """Each message with its bytes; between whom it was is not printed."""
    found = entries_of(lines(tmp_path, *shown(path, payload=True)), REGTEST.id)
    assert found == entries_of(path)


def test_wrong_frames_and_junk_that_show_prints_are_read(tmp_path: Path):
    """The header is printed where it is not what the payload implies."""
    path = recorded(tmp_path, PLAIN)
    printed = shown(path, payload=True)
    assert [json.loads(each).get("header") is not None for each in printed].count(True) == 1
    found = entries_of(lines(tmp_path, *printed), REGTEST.id)
    bare = [[each | {"error": None} for each in one] for one in (found, entries_of(path))]
    assert bare[0] == bare[1]


def test_verdicts_that_show_prints_are_read(tmp_path: Path):
    """What became of each message; what went out in its place is not printed."""
    path = record(tmp_path / "changed.pcapng", TALK)
    found = entries_of(lines(tmp_path, *shown(path, payload=True)), REGTEST.id)
    assert found == entries_of(path)


def test_lines_without_payload_say_what_is_missing(tmp_path: Path):
    """They cannot be read again, and say what can be done."""
    printed = shown(CAPTURES[0], payload=False)
    found, error = read_until_error(lines(tmp_path, *printed), REGTEST.id)
    assert found == []
    assert "line 1: it has no payload; `show -T ndjson -x` prints it" in str(error)
    assert error is not None
    assert error.offset == 0


def test_lines_without_a_network_ask_for_it(tmp_path: Path):
    """Messages alone do not tell theirs."""
    with pytest.raises(UnknownNetwork, match="say --network, one of bitcoin-mainnet"):
        list(open_capture(lines(tmp_path, MESSAGE)))


def test_a_message_met_alone_is_in_the_middle_of_a_session(tmp_path: Path):
    """What `show FILE FILTER` prints: the handshake may not be there."""
    [entry] = entries_of(lines(tmp_path, MESSAGE), REGTEST.id)
    assert (entry["raw"], entry["error"]) == (PING, None)
    [started] = [
        each
        for each in events(open_capture(tmp_path / "x.ndjson", REGTEST))
        if isinstance(each, SessionStarted)
    ]
    assert not started.from_start


def test_a_message_longer_than_a_line_may_be_has_its_payload(tmp_path: Path, monkeypatch):
    """What is decoded is left out: the bytes say it."""
    plain = converted(CAPTURES[0], tmp_path / "1", "x.ndjson")
    monkeypatch.setattr(writing, "MAX_LINE", 30_000)
    short = converted(CAPTURES[0], tmp_path / "2", "x.ndjson")
    assert entries_of(short) == entries_of(plain)
    omitted = [
        each for each in map(json.loads, short.read_text().splitlines()) if "omitted" in each
    ]
    assert omitted
    assert all(each["message"] is None for each in omitted)


GOOD = [STARTED, MESSAGE]
NOT_GOOD = {
    "no JSON": "what?",
    "cut": '{"number":1,',
    "a list": "[]",
    "a number": "1",
    "NaN": '{"number":NaN}',
    "two objects": "{} {}",
    "nested deeply": '{"message":' + "[" * 100_000 + "]" * 100_000 + "}",
    "nested deeply and cut": '{"message":' + '{"a":' * 1_000_000,
    "a known key nested": '{"trail":' + "[" * 5_000 + "]" * 5_000 + "}",
    "a huge number": MESSAGE | {"session": 10**400},
    "a huge number that is none": '{"session":1e999}',
    "a negative session": MESSAGE | {"session": -1},
    "a session that is none": MESSAGE | {"session": "1"},
    "no session": MESSAGE | {"session": None},
    "no time": {key: value for key, value in MESSAGE.items() if key != "time"},
    "a time that is none": MESSAGE | {"time": "yesterday"},
    "a day that is none": MESSAGE | {"time": "2026-02-30T00:00:00Z"},
    "no direction": MESSAGE | {"direction": None},
    "a direction that is none": MESSAGE | {"direction": "sideways" * 1000},
    "no payload": MESSAGE | {"payload": None},
    "bad hex": MESSAGE | {"payload": "0g"},
    "half a byte": MESSAGE | {"payload": "000"},
    "hex of other digits": MESSAGE | {"payload": "\u0661\u0662" * 8},
    "a list of bytes": MESSAGE | {"payload": [0]},
    "less payload than length": MESSAGE | {"payload": "00"},
    "a huge length": MESSAGE | {"length": 1 << 32},
    "a long command": MESSAGE | {"command": "x" * 13},
    "a command of no bytes": MESSAGE | {"command": "p\u4e00ng"},
    "a short header": MESSAGE | {"header": "00"},
    "a header of another length": MESSAGE | {"header": PING[:16].hex() + "ff" * 8},
    "a verdict that is none": MESSAGE | {"verdict": 5},
    "a trail that is none": MESSAGE | {"trail": "who"},
    "an event that is none": MESSAGE | {"event": "party"},
    "a session that did not start": MESSAGE | {"event": "finished", "session": 9},
    "an address that is none": STARTED | {"client": "here"},
    "a port that is none": STARTED | {"client": "1.2.3.4:99999"},
    "no address": STARTED | {"listen": None},
    "a network that is none": STARTED | {"network": "monopoly"},
    "a huge gap": MESSAGE | {"missing": 1 << 31},
    "sections of no kind": {"event": "section", "changes": "yes"},
    "half a letter": '{"time":"\\ud800"}',
}


@pytest.mark.parametrize("line", NOT_GOOD.values(), ids=NOT_GOOD)
def test_a_bad_line_is_an_error_with_its_place(tmp_path: Path, line):
    """Everything before it is given; what it is about is said, not repeated at any length."""
    path = lines(tmp_path, *GOOD, line, MESSAGE)
    found, error = read_until_error(path)
    assert [each["raw"] for each in found] == [PING]
    assert error is not None
    assert "line 3" in str(error)
    assert len(str(error)) < 300
    assert error.offset == len(json.dumps(STARTED)) + len(json.dumps(MESSAGE)) + 2


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    """JSON is UTF-8."""
    path = lines(tmp_path, *GOOD)
    for bad in (b'{"time":"\xff"}', b"\xff\xfe", b"\0" * 50, b'{"command":"\xed\xa0\x80"}'):
        path.write_bytes(
            path.read_bytes()[: len(json.dumps(STARTED)) + len(json.dumps(MESSAGE)) + 2]
        )
        with path.open("ab") as file:
            file.write(bad + b"\n")
        found, error = read_until_error(path)
        assert len(found) == 1
        assert error is not None


def test_the_end_of_a_last_line_may_be_missing(tmp_path: Path):
    """If what is there is whole; empty lines are nothing."""
    path = lines(tmp_path, *GOOD, "", "")
    path.write_bytes(path.read_bytes().rstrip())
    assert [each["raw"] for each in entries_of(path)] == [PING]


@pytest.mark.slow
def test_every_beginning_gives_what_is_whole(tmp_path: Path):
    """All lines that are there, and an error where one is cut."""
    whole = converted(record(tmp_path / "a.pcapng", TALK), tmp_path / "1", "x.ndjson").read_bytes()
    wanted = entries_of(tmp_path / "a.pcapng")
    path = tmp_path / "cut.ndjson"
    most = 0
    for size in range(1, len(whole), 11):
        path.write_bytes(whole[:size])
        found, error = read_until_error(path)
        bare = [[each | {"message": None} for each in one] for one in (found, wanted)]
        assert bare[0] == bare[1][: len(found)]
        assert len(found) >= most
        most = len(found)
        if error is not None and size > 2:
            assert error.offset == whole.rfind(b"\n", 0, size) + 1
    assert most >= len(wanted) - 1


@pytest.mark.slow
def test_a_line_that_does_not_end_takes_no_more_memory_than_it_may(tmp_path: Path, monkeypatch):
    """100 MB of anything: not a message, or an impossible one."""
    monkeypatch.setattr(ndjson, "MAX_LINE", 4 << 20)
    path = tmp_path / "long.ndjson"
    start = b"".join(json.dumps(each).encode() + b"\n" for each in GOOD)
    for filling in (b"[", b'{"payload":"' + b"0" * 50):
        with path.open("wb") as file:
            file.write(start + filling)
            for _ in range(100):
                file.write(b"0" * (1 << 20))
        with memory.tracing():
            found, error = read_until_error(path)
            assert memory.peak() < 20 << 20
        assert len(found) == 1
        assert error is not None
        assert error.offset == len(start)
        assert "a line cannot have more than" in str(error)


@given(st.integers(-(2**70), 2**70))
@example(-30_610_224_000_000_000_001)  # the year 999
def test_any_time_comes_back(time_ns: int):
    """Those that no calendar holds as well."""
    assert time_of_iso(iso_time(time_ns)) == time_ns


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [*STARTED, *MESSAGE, "upstream", "local", "missing", "sent", "header", "verdict", "trail"]
EVENTS = ["section", "started", "connected", "finished", "reset", "left"]


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_lines_are_read_or_refused(tmp_path_factory, data: st.DataObject):
    """Never another exception, whatever stands under the known keys."""
    objects = []
    for _ in range(data.draw(st.integers(1, 8))):
        base = dict(data.draw(st.sampled_from([STARTED, MESSAGE])))
        base["session"] = data.draw(st.integers(1, 2))
        if data.draw(st.booleans()):
            base["event"] = data.draw(st.sampled_from(EVENTS))
            base["local"] = "10.0.0.3:3"
            base["changes"], base["legs"] = data.draw(st.booleans()), "both"
        if data.draw(st.booleans()):
            base["verdict"] = data.draw(st.sampled_from(["drop", "inject", "rewrite", "x"]))
        if data.draw(st.integers(0, 3)) == 0:
            base[data.draw(st.sampled_from(KEYS))] = data.draw(VALUES)
        objects.append(base)
    path = lines(tmp_path_factory.mktemp("any"), *objects)
    read_until_error(path, data.draw(st.sampled_from([None, REGTEST.id])) or REGTEST.id)
