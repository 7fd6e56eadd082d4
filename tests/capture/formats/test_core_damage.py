"""Bitcoin Core's capture files as they are in the field: peers that came back, and damage."""

import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.capture.formats import _core_records
from lbcproxy.capture.reader import events
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction
from lbcproxy.session.events import SessionStarted
from tests.capture.formats.core_files import BITCOIN, START, core_record, folder, rows_of
from tests.capture.roundtrip import FORMATS, converted, entries_of, read_until_error
from tests.tools import REPOSITORY

UP, DOWN = Direction
CASES = REPOSITORY / "tests" / "cases"
HOUR = 3_600_000_000


def version(micros: int, number: int = 70016) -> bytes:
    """A `version` record; the fields that matter are its number."""
    payload = struct.pack("<iQq", number, 0, 0) + bytes(52) + bytes(8) + b"\0" + bytes(4) + b"\1"
    return core_record(START + micros, b"version", payload)


def said(micros: int, command: bytes = b"ping", payload: bytes = bytes(8)) -> bytes:
    return core_record(START + micros, command, payload)


def sessions(path: Path) -> list[tuple[int, str, str]]:
    return [
        (each.session, each.direction.value, each.command) for each in open_capture(path, BITCOIN)
    ]


def test_a_peer_that_came_back_is_a_second_session():
    """The case of the report: with a version of its own, so nothing is judged by the old one."""
    capture = open_capture(CASES / "core_reconnect", "bitcoin-mainnet")
    found = list(capture)
    assert capture.sessions == 2
    assert [each.session for each in found] == [1] * 5 + [2] * 8
    assert [each.error for each in found] == [None] * 13
    versions = {each.session: each.message.codec.protocol_version for each in found[4::8]}
    assert versions == {1: 60000, 2: 70016}


def test_both_sessions_are_distinguished_in_every_format(tmp_path: Path):
    """Written and read again."""
    path = CASES / "core_reconnect"
    for number, name in enumerate(FORMATS):
        out = converted(path, tmp_path / str(number), name, "bitcoin-mainnet")
        for each in (out, converted(out, tmp_path / f"{number}b", "core/", "bitcoin-mainnet")):
            capture = open_capture(each, "bitcoin-mainnet")
            found = [(entry.session, entry.command, entry.error) for entry in capture]
            assert [session for session, _, _ in found] == [1] * 5 + [2] * 8, name
            assert {error for _, _, error in found} == {None}
        ends = {
            (event.info.client, event.info.listen)
            for event in events(open_capture(out, "bitcoin-mainnet"))
            if isinstance(event, SessionStarted)
        }
        node = Endpoint("0.0.0.0", 8333)  # what Core's files know of the node
        assert ends == {(node, Endpoint("10.0.0.9", 8333))}


@pytest.mark.parametrize("times", [1, 2, 7])
@pytest.mark.parametrize("gap", [1_000_000, HOUR])
def test_a_peer_may_come_back_often_and_at_once(tmp_path: Path, times: int, gap: int):
    """In either direction; each session has its own client."""
    received, sent, wanted = b"", b"", []
    for number in range(times + 1):
        at = number * gap
        if number % 2:
            sent += version(at) + said(at + 20, b"verack", b"")
            received += version(at + 10) + said(at + 30, b"verack", b"")
        else:
            received += version(at) + said(at + 30, b"verack", b"")
            sent += version(at + 10) + said(at + 20, b"verack", b"")
        ways = ["to_upstream", "to_client", "to_client", "to_upstream"]
        if number % 2:  # the node connects, and is the client
            ways = ["to_upstream", "to_client", "to_upstream", "to_client"]
        commands = ["version", "version", "verack", "verack"]
        wanted += [(number + 1, way, command) for way, command in zip(ways, commands, strict=True)]
    assert sessions(folder(tmp_path, received, sent)) == wanted


def test_one_file_alone_shows_it_too(tmp_path: Path):
    data = version(0) + said(5) + version(10) + said(15)
    for received, sent, way in ((data, None, "to_upstream"), (None, data, "to_client")):
        path = folder(tmp_path / way, received, sent)
        assert sessions(path) == [
            (1, way, "version"),
            (1, way, "ping"),
            (2, way, "version"),
            (2, way, "ping"),
        ]


def test_a_repeated_version_is_none(tmp_path: Path):
    """A node that says it twice is answered with a reject, or not at all."""
    received = version(0) + said(20, b"verack", b"") + version(30) + said(50)
    sent = version(10) + said(20, b"verack", b"") + said(40, b"reject", b"") + said(60, b"pong")
    assert {session for session, _, _ in sessions(folder(tmp_path, received, sent))} == {1}


def test_an_attempt_without_an_answer_is_a_session(tmp_path: Path):
    """The node calls, nobody answers; later somebody does."""
    sent = version(0) + version(HOUR) + said(HOUR + 20, b"verack", b"")
    received = version(HOUR + 10) + said(HOUR + 30, b"verack", b"")
    found = sessions(folder(tmp_path, received, sent))
    assert [session for session, _, _ in found] == [1, 2, 2, 2, 2]


def test_files_that_disagree_are_distinguished_by_silence(tmp_path: Path):
    """One of the two has lost the second `version`: no connection is silent for an hour."""
    received = version(0) + said(20) + version(HOUR) + said(HOUR + 20)
    sent = version(10) + said(30, b"pong") + said(HOUR + 30, b"pong")
    found = sessions(folder(tmp_path, received, sent))
    assert [session for session, _, _ in found] == [1, 1, 1, 1, 2, 2, 2]


def test_the_type_of_the_report_is_one_unreadable_entry():
    """What comes after it is read."""
    capture = open_capture(CASES / "core_badtype", "bitcoin-mainnet")
    found = [(each.command, each.error is None) for each in capture]
    assert found == [
        ("version", True),
        ("version", True),
        ("verack", True),
        ("verack", True),
        ("\xff\xfesend\x01cmpct", False),
        ("ping", True),
        ("pong", True),
    ]


BAD_TYPES = [
    b"\xff\xfesend\x01cmpct",
    b"\xff" * 12,
    bytes(12),
    b"pi\0ng",
    "пинг".encode(),
    b"\x1b[31mping",
]


@pytest.mark.parametrize("kind", BAD_TYPES)
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_any_unreadable_type_costs_no_other_record(
    tmp_path: Path, kind: bytes, count: int, place: str
):
    """Each is an entry with its payload; written to any format, it comes back."""
    bad = b"".join(said(30 + n, kind, bytes([n] * 9)) for n in range(count))
    good = [version(0), said(60), said(70)]
    data = b"".join(
        {"first": [bad, *good], "middle": [good[0], bad, *good[1:]], "last": [*good, bad]}[place]
    )
    path = folder(tmp_path, data, None)
    found, error = read_until_error(path, BITCOIN.id)
    assert error is None
    broken = [each for each in found if each["error"] is not None and len(each["raw"]) == 24 + 9]
    assert [each["raw"][24:] for each in broken] == [bytes([n] * 9) for n in range(count)]
    assert [each["raw"][4:16] for each in broken] == [kind.ljust(12, b"\0")] * count
    assert len(found) == count + 3
    for name in ("core/", "x.pcapng", "x.ndjson"):
        out = converted(path, tmp_path / "out" / name.strip("/"), name, BITCOIN.id)
        again = entries_of(out, BITCOIN.id)
        assert [each["raw"] for each in again] == [each["raw"] for each in found], name


def longer(record: bytes, length: int) -> bytes:
    """A record that claims another length."""
    return record[:20] + struct.pack("<I", length) + record[24:]


DAMAGES = {
    "a length beyond all": longer(said(30), 0xFFFFFFFF),
    "a length beyond the file": longer(said(30), 1_000_000),
    "a length that is too long": longer(said(30), 20),
    "a length over several records": longer(said(30), 90),
    "a length that is too short": longer(said(30, b"ping", bytes(100)), 7),
    "a record that was cut": said(30, b"tx", bytes(500))[:290],
    "a record that was cut, and whose length fits": said(30, b"tx", bytes(500))[:300],
    "a header that was cut": said(30)[:17],
    "zeros": bytes(4096),
    "noise": bytes((n * 37 + 11) % 251 for n in range(70_000)),
    "a magic in noise": b"\1\2\3" + BITCOIN.magic + b"version\0\0\0\0\0" + bytes(9),
    "a time that cannot be": struct.pack("<Q", 1 << 60) + said(30)[8:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_in_the_middle_costs_what_it_hit(tmp_path: Path, name: str):
    """Reading goes on with the next record that makes sense, and what was wrong is said."""
    after = [said(1_000 + n, b"ping", bytes([n] * 8)) for n in range(20)]
    data = version(0) + said(10, b"verack", b"") + DAMAGES[name] + b"".join(after)
    path = folder(tmp_path, data, version(5))
    found, error = read_until_error(path, BITCOIN.id)
    pings = [
        each["raw"][24:] for each in found if each["command"] == "ping" and each["error"] is None
    ]
    assert pings[-20:] == [each[24:] for each in after]
    assert [each["command"] for each in found[:3]] == ["version", "version", "verack"]
    assert error is not None
    assert error.offset is not None
    assert "10.0.0.1_8333/msgs_recv.dat: " in str(error)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_at_the_end_is_said(tmp_path: Path, name: str):
    data = version(0) + said(10, b"verack", b"") + DAMAGES[name]
    found, error = read_until_error(folder(tmp_path, data, version(5)), BITCOIN.id)
    assert [each["command"] for each in found[:3]] == ["version", "version", "verack"]
    assert error is not None


def test_damage_at_the_beginning_costs_no_session(tmp_path: Path):
    """Not even where it stands in both files."""
    received = b"\1" * 50 + said(30) + said(40)
    sent = b"\2" * 70 + said(35, b"pong") + said(45, b"pong")
    found, error = read_until_error(folder(tmp_path, received, sent), BITCOIN.id)
    assert error is not None
    assert [each["command"] for each in found if not each["junk"]] == ["ping", "pong"] * 2
    assert {each["session"] for each in found} == {1}
    assert (
        b"".join(each["junk"] for each in found if each["direction"] == "to_upstream") == b"\1" * 50
    )


def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path):
    """Neither what comes after, nor the order of each side; and nothing lasts less than no time."""
    received = version(HOUR) + b"".join(said(HOUR + n * 10) for n in range(5))
    received += b"".join(said(n * 10) for n in range(5))
    path = folder(tmp_path, received, version(HOUR + 5))
    found = rows_of(path)
    assert [time for way, _, time in found if way is UP] == [
        HOUR,
        *(HOUR + n * 10 for n in range(5)),
        *(n * 10 for n in range(5)),
    ]
    capture = open_capture(path, BITCOIN)
    reports = []
    capture.on_session_ended = reports.append
    list(capture)
    assert [each.ended_ns >= each.begun_ns for each in reports] == [True]


@given(st.binary(max_size=400), st.data())
@example(bytes(100), None)
def test_no_bytes_raise_and_none_is_lost(noise: bytes, data: st.DataObject | None):
    """Whatever is in a file: its bytes are in records, between them, or after what is reported."""
    good = version(0) + said(10) + said(20, b"tx", bytes(30))
    place = 0 if data is None else data.draw(st.integers(0, len(good)))
    mixed = good[:place] + noise + good[place:]
    reader = _core_records.RecordReader(_Pipe(mixed))
    parts = list(reader)
    size = sum(
        len(each.raw) if isinstance(each, _core_records.Unreadable) else 24 + len(each.payload)
        for each in parts
    )
    assert size <= len(mixed)
    assert size == len(mixed) or reader.damage is not None


class _Pipe:
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        data, self._data = self._data[: min(size, 13)], self._data[min(size, 13) :]
        return data


def test_a_folder_without_the_other_direction_is_read(tmp_path: Path):
    path = folder(tmp_path, version(0) + said(10), None)
    assert len(rows_of(path)) == 2
    (path / "msgs_sent.dat").mkdir()
    assert len(rows_of(path)) == 2


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("10.0.0.1_8333", Endpoint("10.0.0.1", 8333)),
        ("10.0.0.1_8333-2", Endpoint("10.0.0.1", 8333)),
        ("[fd00__1]_8333-17", Endpoint("fd00::1", 8333)),
        ("[2001_db8__1]_8333", Endpoint("2001:db8::1", 8333)),
        ("abc.onion_8333", Endpoint("abc.onion", 8333)),
        ("x.b32.i2p_0", Endpoint("x.b32.i2p", 0)),
        ("a_b_7", Endpoint("a_b", 7)),
        ("some-peer", Endpoint("some-peer", 0)),
        ("some_peer", Endpoint("some_peer", 0)),
        ("x_99999", Endpoint("x_99999", 0)),
    ],
)
def test_a_folder_names_its_peer(tmp_path: Path, name: str, endpoint: Endpoint):
    path = folder(tmp_path, version(0), None, name)
    [event] = [
        each for each in events(open_capture(path, BITCOIN)) if isinstance(each, SessionStarted)
    ]
    assert event.info.client == endpoint


def test_networks_are_not_needed_to_see_damage(tmp_path: Path):
    """Any chain's folders are read alike."""
    path = folder(tmp_path, version(0) + b"\xff" * 60 + said(10), None)
    lbry = networks.get("lbry-regtest")
    found, error = read_until_error(path, lbry.id)
    assert error is not None
    assert [each["command"] for each in found if not each["junk"]] == ["version", "ping"]
