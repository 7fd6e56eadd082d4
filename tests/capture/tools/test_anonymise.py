"""Captures without what tells who spoke: nothing of it is left, and the rest is as it was."""

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.events import CaptureSessionEnded
from lbcproxy.capture.tools.anonymise import KEPT, REMOVED, REPLACED, Anonymiser
from lbcproxy.capture.tools.cut import Cutter, Selection
from lbcproxy.capture.tools.pseudonyms import Pseudonyms
from lbcproxy.capture.tools.response_times import ResponseTimes
from lbcproxy.filters import parse
from lbcproxy.session import Delivery, Entry, Message, Session
from lbcproxy.session.events import Delivered
from lbcproxy.wire import BadRecord, Codec, commands, record_of
from tests.capture.roundtrip import CAPTURES, entries_of, write_events
from tests.capture.tools.private_recording import (
    CLIENT,
    INFO,
    NETWORK,
    PRIVATE,
    SECRET_AGENT,
    TALK,
    UP,
    mapped,
    record_private,
)
from tests.memory import held_after
from tests.session.feed import Feed
from tests.strategies import records
from tests.tools import tshark

KEY = bytes(range(32))


SAID_NOWHERE = {b"1122334455667788", b"198.51.100.23", b"10.11.12.13", b"192.168.7.23"}
"""Which stand there as bytes, and in words must not either."""


def anonymised(path, out, key=KEY):
    made = Anonymiser(key)
    write_events(made.apply(events(open_capture(path))), out)
    return made


def test_nothing_that_tells_who_spoke_is_left(tmp_path):
    """Not in packets, not in messages, not in what is said of them; it was all there before."""
    path = record_private(tmp_path / "known.pcapng")
    out = tmp_path / "unknown.pcapng"
    made = anonymised(path, out)
    before, after = path.read_bytes(), out.read_bytes()
    assert {each for each in PRIVATE if each not in before} <= SAID_NOWHERE
    assert [each for each in PRIVATE if each in after] == []
    assert made.changed["user agents"] == 2
    assert made.changed["addresses of sessions"] == 3
    assert made.changed["nonces"] == 2 + 4 + 1 + 3
    assert made.left_out["messages that cannot be read"] == 4
    assert made.left_out["alert messages"] == 1
    assert made.left_out["trailing bytes"] == len(CLIENT)
    assert made.left_out["bytes that are not a message"] > len(SECRET_AGENT)
    assert made.left_out["words of reject"] == 2
    assert made.left_out["reasons of verdicts"] == 6


def test_what_is_left_reads_as_before(tmp_path):
    """Checksums and lengths are right; sessions, times, verdicts and kinds of message stay."""
    path = record_private(tmp_path / "known.pcapng")
    out = tmp_path / "unknown.pcapng"
    anonymised(path, out)
    before = {each["time_ns"]: each for each in entries_of(path)}
    found = entries_of(out)
    assert len(found) == 17
    for each in found:
        old = before[each["time_ns"]]
        assert each["error"] is None
        assert each["message"] is not None
        for key in ("session", "direction", "command", "verdict", "network"):
            assert each[key] == old[key]
    assert found[-1]["trail"] == ("quiet: drop",)
    first = found[0]["message"]
    assert first["user_agent"].startswith("/agent-")
    assert (first["start_height"], first["timestamp"], first["services"]) == (7, 1_700_000_000, 9)
    kinds = [each["network_id"] for each in found[2]["message"]["addresses"]]
    assert kinds == [1, 2, 4, 5, 6, 9]
    assert len(found[3]["message"]["addresses"]) == 3


def test_the_same_stays_the_same(tmp_path):
    """An address is one in packets and in messages; pings still meet their pongs."""
    path = record_private(tmp_path / "known.pcapng")
    out = tmp_path / "unknown.pcapng"
    anonymised(path, out)
    [info] = {
        e.info.number: e.info for e in events(open_capture(out)) if hasattr(e, "info")
    }.values()
    addresses = {
        command: [each["addresses"] for each in map(msgspec.structs.asdict, [record])]
        for command, record in (
            (entry.command, entry.message.record)
            for entry in open_capture(out)
            if entry.command in ("addr", "addrv2")
        )
    }
    [new], [old] = addresses["addrv2"], addresses["addr"]
    assert bytes(10) + b"\xff\xff" + new[0].addr == old[0].ip
    assert new[1].addr == old[1].ip == ipaddress.ip_address(info.upstream.host).packed
    assert old[2].ip == mapped(info.client.host)
    assert info.client.port == 40_001
    answers = ResponseTimes()
    for entry in open_capture(out):
        answers.add(entry)
    [row] = [each for each in answers.to_list() if each["pair"] == "ping-pong"]
    assert row["answered"] == 2


@pytest.mark.parametrize(
    ("trail", "kept"),
    [
        (
            ("quiet: drop: 1.2.3.4", "my-plugin_2: rewrite ping 8 B -> 9 B"),
            ("quiet: drop", "my-plugin_2: rewrite"),
        ),
        (("terminate", "for a node without witness"), ("terminate",)),
        (("1.2.3.4: drop", "the session broke off"), ()),
        (("1.2.3.4",), ()),
        ((), ()),
    ],
)
def test_of_a_trail_who_and_what_are_kept(tmp_path, trail, kept):
    """Not why: that may be about anybody."""
    out = tmp_path / "unknown.pcapng"
    anonymised(record_private(tmp_path / "known.pcapng", [], trail), out)
    assert {entry.trail for entry in open_capture(out)} == {kept}
    assert b"1.2.3.4" not in out.read_bytes()


def test_a_key_gives_the_same_again_and_no_other(tmp_path):
    """`--seed` is for several captures of the same nodes."""
    path = record_private(tmp_path / "known.pcapng")
    files = [tmp_path / f"{name}.pcapng" for name in "abc"]
    for out, key in zip(files, (KEY, KEY, bytes(32)), strict=True):
        anonymised(path, out, key)
    one, same, other = (each.read_bytes() for each in files)
    assert one == same != other


def test_what_went_out_in_place_of_a_message_is_changed_too(tmp_path):
    """On the leg where it stands."""
    path = record_private(tmp_path / "known.pcapng")
    out = tmp_path / "unknown.pcapng"
    anonymised(path, out)
    sent = [
        delivery.sent
        for event in events(open_capture(out))
        if isinstance(event, Delivered)
        for delivery in event.deliveries
        if delivery.sent
    ]
    assert [each[4:16].rstrip(b"\0") for each in sent] == [b"addr", b"ping"]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_real_captures_stay_decodable(tmp_path, path):
    """All that could be read can be read, and says the same but for names and numbers."""
    out = tmp_path / "unknown.pcapng"
    made = anonymised(path, out)
    before = [each for each in entries_of(path) if each["error"] is None]
    left = [each for each in before if each["command"] != "alert"]
    found = entries_of(out)
    assert [each["command"] for each in found] == [each["command"] for each in left]
    for old, new in zip(left, found, strict=True):
        assert new["error"] is None
        if old["command"] in KEPT:
            assert (new["raw"], new["message"]) == (old["raw"], old["message"])
        elif old["command"] == "version":
            assert old["message"]["user_agent"].encode() not in new["raw"]
    assert made.messages == len(found)
    assert made.kept["tx messages"] == sum(each["command"] == "tx" for each in left)


def test_wireshark_finds_nothing_wrong(tmp_path):
    """IP checksums are those of the new addresses."""
    out = tmp_path / "unknown.pcapng"
    anonymised(record_private(tmp_path / "known.pcapng"), out)
    lines = tshark(
        *("-r", str(out), "-o", "ip.check_checksum:TRUE", "-T", "fields"),
        *("-e", "ip.checksum.status", "-e", "_ws.malformed"),
    )
    assert "Bad" not in lines
    assert {line.split("\t")[0] for line in lines.splitlines()} <= {"1", ""}


def test_every_message_is_judged():
    """Anyone who adds a message says here what it may tell."""
    assert sorted([*REPLACED, *KEPT, *REMOVED]) == sorted(set(commands()))


@given(st.integers(0, 255), st.binary(max_size=64))
def test_addresses_keep_their_length_and_decode(network, address):
    """Of any network, known or not."""
    made = Pseudonyms(KEY).address(network, address)
    assert len(made) == len(address)
    assert made == Pseudonyms(KEY).address(network, address)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("8.8.8.8", "240.0.0.0/4"),
        ("192.168.1.1", "240.0.0.0/4"),
        ("2a00::1", "2001:db8::/32"),
        ("::ffff:8.8.8.8", "::ffff:0:0/96"),
        ("fd87:d87e:eb43::5", "fd87:d87e:eb43::/48"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::1/128"),
        ("::", "::/128"),
        ("0.0.0.0", "0.0.0.0/32"),
    ],
)
def test_addresses_are_mapped_into_what_is_nobodys(host, network):
    """Loopback stays."""
    made = ipaddress.ip_address(Pseudonyms(KEY).host(host))
    assert made in ipaddress.ip_network(network)
    stays = host in ("127.0.0.1", "::1", "::", "0.0.0.0")
    assert (str(made) == host) is stays


def test_names_of_hosts_are_mapped_too():
    """A UNIX socket as well; nothing stays nothing."""
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.host("node.example.com").endswith(".invalid")
    assert pseudonyms.host("node.example.com") != pseudonyms.host("node2.example.com")
    assert pseudonyms.host("") == ""
    assert pseudonyms.user_agent(b"") == b""


@given(st.data(), st.sampled_from(sorted(REPLACED)), st.sampled_from([209, 31402, 60002, 70016]))
def test_any_message_stays_one(data, command, protocol_version):
    """Whatever a node sends that can be read can be read again, and is of the same kind."""
    codec = Codec(NETWORK, protocol_version, encoding="auto")
    record = data.draw(records(record_of(command), codec.params))
    try:
        message = Message.of(record, UP, codec)
    except BadRecord:
        return
    if message.error is not None:
        return
    entry = Entry(number=1, time_ns=1, session=3, direction=UP, message=message)
    [event] = Anonymiser(KEY).apply([Delivered(INFO, UP, (Delivery(message.raw, (entry,)),), 1)])
    [made] = event.deliveries[0].entries
    assert made.message.error is None
    assert Codec(NETWORK, protocol_version).decode(command, made.payload) is not None
    assert event.deliveries[0].raw == made.raw


def many(path, count):
    """Record sessions one after the other, each as long as the talk."""
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=NETWORK.id))
        for number in range(1, count + 1):
            info = msgspec.structs.replace(INFO, number=number)
            session = Session(number, NETWORK, stream_above=None)
            recorder.started(info, number)
            for direction, raw in TALK[:8]:
                recorder.passed(info, direction, session.receive(direction, raw, number), number)
            recorder.reset(info, UP, number)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("what", ["anonymise", "cut"])
def test_memory_does_not_grow(tmp_path, what):
    """Nothing of a session is kept when it is over."""
    made = Anonymiser(KEY) if what == "anonymise" else Cutter(Selection(wanted=parse("pong")))
    left = 0

    def ends():
        nonlocal left
        for event in made.apply(events(open_capture(many(tmp_path / "many.pcapng", 400)))):
            left += isinstance(event, Delivered)
            if isinstance(event, CaptureSessionEnded):
                yield event

    held = held_after(ends(), 100, 400)
    assert left == 400 * (8 if what == "anonymise" else 1)
    assert held[1] - held[0] < 10_000, held
