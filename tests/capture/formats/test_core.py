"""Bitcoin Core's capture files, against a reader that shares no code with lbcproxy's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import UnknownNetwork, open_capture
from lbcproxy.capture.formats import core
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import CaptureError
from lbcproxy.session import Direction
from lbcproxy.wire.envelope import frame
from tests.capture.changed_traffic import TALK, record
from tests.capture.formats.core_files import (
    BITCOIN,
    START,
    Said,
    core_record,
    folder,
    independently,
    rows_of,
)
from tests.capture.roundtrip import CAPTURES, converted, entries_of, read_until_error

UP, DOWN = Direction


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_what_is_written_is_what_core_writes(tmp_path: Path, path: Path):
    """Both files of each peer hold every message, in order, to the microsecond."""
    out = converted(path, tmp_path, "core/")
    capture = open_capture(path)
    wanted: dict[tuple[str, str], list[Said]] = {}
    for entry in capture:
        if entry.message is not None:
            peer = str(capture.stats.open_sessions[entry.session].client).replace(":", "_")
            name = "msgs_recv.dat" if entry.direction is UP else "msgs_sent.dat"
            said = Said(entry.time_ns // 1_000, entry.command.encode(), entry.payload)
            wanted.setdefault((peer, name), []).append(said)
    found = {
        (file.parent.name, file.name): independently(file.read_bytes())
        for file in out.rglob("*.dat")
    }
    assert found == wanted
    assert len(found) >= 2


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_files_come_back_byte_for_byte(tmp_path: Path, path: Path):
    """In and out: the same folders, the same bytes."""
    out = converted(path, tmp_path / "1", "core/")
    again = converted(out, tmp_path / "2", "core/", "lbry-regtest")
    files = {each.relative_to(out): each.read_bytes() for each in out.rglob("*.dat")}
    assert {each.relative_to(again): each.read_bytes() for each in again.rglob("*.dat")} == files


def hello(micros: int) -> bytes:
    return core_record(START + micros, b"version", bytes(86))


@pytest.mark.parametrize("first", ["received", "sent"])
def test_both_files_are_one_session_in_the_order_of_time(tmp_path: Path, first: str):
    """The side that sends `version` first has connected."""
    early, late = hello(0) + core_record(START + 20, b"verack"), hello(10)
    pair = (early, late) if first == "received" else (late, early)
    path = folder(tmp_path, *pair)
    for place in (path, path.parent):
        assert rows_of(place) == [(UP, "version", 0), (DOWN, "version", 10), (UP, "verack", 20)]
        capture = open_capture(place, BITCOIN)
        next(iter(capture))
        [between] = capture.stats.open_sessions.values()
        peer = between.client if first == "received" else between.listen
        assert peer == Endpoint("10.0.0.1", 8333)


@pytest.mark.parametrize(("which", "way"), [("received", UP), ("sent", DOWN)])
def test_one_file_alone_is_read_too(tmp_path: Path, which: str, way: Direction):
    """The peer is taken for the client; the file's name says which side was received."""
    data = hello(0) + core_record(START + 5, b"ping", bytes(8))
    path = folder(tmp_path, *((data, None) if which == "received" else (None, data)))
    [file] = path.iterdir()
    wanted = [(way, "version", 0), (way, "ping", 5)]
    assert rows_of(path) == rows_of(file) == wanted


def test_folders_of_many_peers_are_sessions(tmp_path: Path):
    """Together in the order of time, each with its peer; IPv6 and names that are none too."""
    names = ["10.0.0.1_8333", "[fd00__1]_8333", "some-peer", *(f"10.0.1.{n}_1" for n in range(300))]
    for number, name in enumerate(names):
        folder(
            tmp_path / "x", hello(number) + core_record(START + 500, b"ping", bytes(8)), None, name
        )
    path = tmp_path / "x" / "message_capture"
    capture = open_capture(path, BITCOIN)
    clients = set()
    for entry in capture:
        clients.add(capture.stats.open_sessions[entry.session].client)
    assert len(clients) == len(names)
    assert Endpoint("fd00::1", 8333) in clients
    assert Endpoint("some-peer", 0) in clients


def test_few_peers_are_in_the_order_of_time(tmp_path: Path):
    for number in range(5):
        data = b"".join(
            core_record(START + number + step * 10, b"ping", bytes(8)) for step in range(9)
        )
        folder(tmp_path / "x", data, None, f"10.0.0.{number}_8333")
    times = [each[2] for each in rows_of(tmp_path / "x" / "message_capture")]
    assert times == sorted(times)
    assert len(times) == 45


def test_they_hold_no_network(tmp_path: Path):
    """It has to be said, and which there are."""
    path = folder(tmp_path, hello(0), None)
    for each in (path, path.parent, path / "msgs_recv.dat"):
        with pytest.raises(
            UnknownNetwork, match=r"do not name a network; say --network, one of .*lbry"
        ):
            list(open_capture(each))


def test_a_folder_without_them_is_not_a_capture(tmp_path: Path):
    (tmp_path / "other").mkdir()
    with pytest.raises(CaptureError, match="neither msgs_recv.dat nor msgs_sent.dat"):
        list(open_capture(tmp_path, BITCOIN))


def test_it_is_written_as_the_upstream_would_have(tmp_path: Path):
    """What was dropped on its way never came; what was put in did; the rest as it arrived."""
    path = record(tmp_path / "changed.pcapng", TALK)
    out = converted(path, tmp_path, "core/")
    [peer] = out.iterdir()
    frames = {
        name: [
            frame(networks.get("lbry-regtest").magic, each.command.decode(), each.payload)
            for each in independently((peer / name).read_bytes())
        ]
        for name in ("msgs_recv.dat", "msgs_sent.dat")
    }
    assert b"".join(frames["msgs_recv.dat"]) == b"".join(e.sent for e in TALK if e.direction is UP)
    assert b"".join(frames["msgs_sent.dat"]) == b"".join(e.raw for e in TALK if e.direction is DOWN)


def test_damage_of_one_file_costs_no_other(tmp_path: Path):
    """All that is good in both is given, then what is wrong and where."""
    good = hello(0) + core_record(START + 5, b"ping", bytes(8))
    sent = hello(1) + core_record(START + 9, b"pong", bytes(8))
    path = folder(tmp_path, good + b"\1\2\3", sent)
    found, error = read_until_error(path, BITCOIN.id)
    assert error is not None
    assert "10.0.0.1_8333/msgs_recv.dat: the header of the last" in str(error)
    assert error.offset == len(good)
    assert [each["command"] for each in found] == ["version", "version", "ping", "pong"]


def test_a_host_name_does_not_lead_out_of_the_folder(tmp_path: Path):
    """A file may say that a client was called ../../x."""
    line = (
        '{"event":"started","time":"2026-01-01T00:00:00Z","session":1,"network":"lbry-regtest",'
        '"client":"[../../x]:1","listen":"127.0.0.1:2"}\n'
        '{"time":"2026-01-01T00:00:00Z","session":1,"direction":"to_upstream","command":"ping",'
        '"payload":"0000000000000000"}\n'
    )
    source = tmp_path / "evil.ndjson"
    source.write_text(line)
    out = converted(source, tmp_path / "deep" / "er", "core/")
    assert [each.name for each in out.iterdir()] == [".._.._x_1"]
    assert not (tmp_path / "x_1").exists()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 1 << 52),
            st.from_regex(rb"[ -~]{1,12}", fullmatch=True).filter(lambda name: name.strip()),
            st.binary(max_size=100),
        ),
        min_size=1,
    )
)
def test_any_records_come_back(tmp_path_factory, records):
    """Whatever the order of their times; the clock of a machine may be set back."""
    tmp_path = tmp_path_factory.mktemp("any")
    pair = [
        b"".join(core_record(*rest) for received, *rest in records if received is which)
        for which in (True, False)
    ]
    path = folder(tmp_path, *pair)
    out = converted(path, tmp_path / "out", "core/", BITCOIN.id)
    again = {each.name: each.read_bytes() for each in out.rglob("*.dat")}
    # No record says who was the client: then the two are the other way round.
    names = ("msgs_recv.dat", "msgs_sent.dat")
    assert [again.get(name, b"") for name in names] in (pair, pair[::-1])


def test_a_record_is_known_by_what_it_says():
    """The first of a file tells the format."""
    good = core_record(START, b"ping", bytes(8))
    assert core.matches(good[:32])
    assert not core.matches(good[:23])
    assert not core.matches(core_record(1 << 60, b"ping"))
    assert not core.matches(core_record(START, b"\1ping"))
    assert not core.matches(b'{"number":1,"time":"2026-01-01T00')


def test_an_empty_file_beside_the_other_is_nothing(tmp_path: Path):
    """Nothing was sent yet."""
    path = folder(tmp_path, hello(0), b"")
    assert rows_of(path) == [(UP, "version", 0)]
    with pytest.raises(CaptureError, match="empty"):
        entries_of(path / "msgs_sent.dat", BITCOIN.id)
