"""Tests of what a peer logs, at which level, and at what cost (docs/peer-lbcd.md T)."""

import gc
import io
import weakref
from typing import Any, ClassVar

import pytest
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    globalLogPublisher,
    textFileLogObserver,
)

from lbcproxy.peer import Policy
from lbcproxy.peer import log as peer_log
from lbcproxy.peer.effects import RawFrame
from lbcproxy.peer.log import PeerLog, hex_dump
from lbcproxy.wire import commands, record_of
from lbcproxy.wire.messages.addresses import Addr, GetAddr
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck
from lbcproxy.wire.messages.headers import BlockHeader, GetBlocks, GetHeaders, Headers
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, InvType, NotFound
from lbcproxy.wire.messages.keepalive import MemPool, Ping, SendHeaders
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.messages.transactions import Tx
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import CONFIG, REGTEST, Callbacks, connect, encoded, version
from tests.peer.log_capture import LogCapture

ZERO = bytes(32)
ZEROS = "00" * 32


# What is said of a message.


def thing(kind: int) -> Inv:
    """An `inv` of one thing."""
    return Inv((InventoryVector(kind, ZERO),))


HEADER = BlockHeader(1, ZERO, ZERO, ZERO, 1_700_000_000, 0, 0)
SUMMARIES: list[tuple[MessageRecord, str]] = [
    (Addr(()), "addr (0 addr)"),
    (Inv(()), "inv (empty)"),
    (thing(InvType.ERROR), f"inv (error {ZEROS})"),
    (thing(InvType.TX), f"inv (tx {ZEROS})"),
    (thing(InvType.BLOCK), f"inv (block {ZEROS})"),
    (thing(InvType.WITNESS_TX), f"inv (witness tx {ZEROS})"),
    (thing(InvType.WITNESS_BLOCK), f"inv (witness block {ZEROS})"),
    (thing(99), f"inv (unknown (99) {ZEROS})"),
    (Inv((InventoryVector(1, ZERO),) * 3), "inv (size 3)"),
    (GetData((InventoryVector(1, ZERO),) * 2), "getdata (size 2)"),
    (NotFound(()), "notfound (empty)"),
    (GetBlocks(70013, (), ZERO), f"getblocks (no locator, stop {ZEROS})"),
    (GetHeaders(70013, (ZERO, ZERO), ZERO), f"getheaders (locator {ZEROS}, stop {ZEROS})"),
    (Headers(()), "headers (num 0)"),
    (Reject(b"inv", 1, b"bad"), "reject (cmd inv, code REJECT_MALFORMED, reason bad)"),
    (
        Reject(b"tx", 16, b"bad", ZERO),
        f"reject (cmd tx, code REJECT_INVALID, reason bad, hash {ZEROS})",
    ),
    (Tx(1, (), (), 499_999_999), "0 inputs, 0 outputs, lock height 499999999)"),
    (Tx(1, (), (), 500_000_000), "0 inputs, 0 outputs, lock 1985-11-05 00:53:20)"),
    (Block(HEADER, ()), "ver 1, 0 tx, 2023-11-14 22:13:20)"),
    (Ping(15), "ping (nonce=000000000000000f)"),
    (GetAddr(), "getaddr"),
    (MemPool(), "mempool"),
    (SendHeaders(), "sendheaders"),
]


@pytest.mark.parametrize(
    ("record", "words"), SUMMARIES, ids=lambda each: getattr(each, "command", "")
)
def test_a_message_is_named_with_its_summary(record: MessageRecord, words: str):
    """The same for both directions; without parentheses if there is no summary (T2, T3)."""
    wired = connect().shake_hands()
    with LogCapture() as log:
        wired.feed(record)
        wired.peer.send(record)
    received, sending = (
        next(line for line in log.lines if line.startswith(f"{verb} {record.command}"))
        for verb in ("received", "sending")
    )
    assert received.endswith(f"{words} from 10.0.0.1:9246 (inbound)")
    assert sending.endswith(f"{words} to 10.0.0.1:9246 (inbound)")


def test_the_handshake_is_logged():
    """At debug, with the node's user agent and the negotiated version."""
    with LogCapture() as log:
        connect(inbound=False).shake_hands(70001)
    assert {level for level, _, _ in log.entries} == {"debug"}
    peer = "10.0.0.1:9246 (outbound)"
    assert log.lines[0].startswith("sending version (agent /lbcproxy:")
    assert log.lines[1:] == [
        f"received version (agent /node:1.0/, pver 70001, block 100) from {peer}",
        f"{peer}: negotiated protocol version 70001",
        f"sending verack to {peer}",
        f"received verack from {peer}",
        f"{peer}: connected",
    ]


def test_every_message_has_a_summary_that_is_text():
    """With any values: an entry that cannot be formatted would be useless."""
    for command in commands():
        record = record_of(command)
        assert record is not None
        assert record.summary is not None


NASTY = "new\nline \x1b[31mred \u202eturned \x07\x00".encode()


@pytest.mark.parametrize(
    ("what", "record"),
    [
        ("reject", Reject(NASTY[:12], 1, NASTY)),
        ("version", version(user_agent=NASTY, services=0)),
    ],
)
def test_what_the_node_chose_is_escaped(what: str, record: MessageRecord):
    """A node must not write lines of its own into the log, nor act on a terminal (T4)."""
    wired = connect()
    with LogCapture() as log:
        if what == "reject":
            wired.shake_hands()
        wired.feed(record)
        wired.peer.send(record)
    said = [line for line in log.lines if line.startswith(("received " + what, "sending " + what))]
    assert said
    for line in said:
        assert line.isprintable()
    assert "new\\nline" in said[0]


def test_an_unknown_command_is_escaped():
    """Its twelve bytes are the node's choice too."""
    wired = connect().shake_hands()
    with LogCapture() as log:
        wired.feed(encoded(GetAddr()).replace(b"getaddr", b"\x1b[31m\r\n"))
    assert log.lines
    assert all(line.isprintable() for line in log.lines)


def test_the_command_of_a_frame_passed_on_is_escaped():
    """The node chose it; nothing else is logged about it."""
    with LogCapture() as log:
        PeerLog("a peer").sending(RawFrame("\x1b[31m"), b"raw")
    assert log.lines == ["sending \\x1b[31m (as it came) to a peer"]


def test_reasons_are_cut():
    """At 250 characters; commands at 12."""
    wired = connect().shake_hands()
    with LogCapture() as log:
        wired.feed(Reject(b"c" * 50, 1, b"r" * 300))
    line = next(line for line in log.lines if line.startswith("received reject"))
    assert f"cmd {'c' * 12}..., code" in line
    assert f"reason {'r' * 250}...) from" in line


# Levels.


def test_levels_are_those_of_the_table():
    """T5: warn for what an operator may act on, error for what is broken, debug for the rest."""
    with LogCapture() as log:
        connect().shake_hands().pass_time(300, step=5)
        broken = encoded(GetAddr())[:20] + b"\0\0\0\0"
        connect(host="10.0.0.2", policy=Policy.STRICT).shake_hands().feed(broken)
        connect().shake_hands().feed(broken)
        strict = Policy.STRICT
        regtest = connect(CONFIG_REGTEST, host="127.0.0.1", policy=strict).shake_hands()
        regtest.feed(encoded(GetAddr(), network=REGTEST)[:20] + b"\0\0\0\0")
        connect(policy=strict).feed(VerAck())
        connect().shake_hands().peer.push_reject("tx", 1, "no")
        connect().shake_hands().feed(encoded(GetAddr()).replace(b"getaddr", b"strange"))
        connect().shake_hands().peer.disconnect()
    assert log.level("no answer for 300 s") == "warn"
    assert log.level("10.0.0.2:9246 (inbound): can't read message") == "error"
    assert log.level("allowed test error") == "error"
    assert log.level("ignoring getaddr: ") == "debug"
    assert log.level("cannot start peer") == "debug"
    assert log.level("no hash given to reject tx") == "warn"
    assert log.level("ignoring unknown command") == "debug"
    assert log.level("connected") == "debug"
    assert any("disconnecting: disconnected by us" in line for line in log.traced)


CONFIG_REGTEST = type(CONFIG)(network=REGTEST)


def test_a_callback_that_raises_is_logged_once_with_its_trace():
    """It is a defect of ours, not of the node."""

    def on_getaddr(peer: Any, record: Any) -> None:
        raise RuntimeError("a defect")

    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        connect(callbacks=Callbacks(on_getaddr=on_getaddr)).shake_hands().feed(GetAddr())
    finally:
        globalLogPublisher.removeObserver(events.append)
    [event] = [each for each in events if each["log_level"] is LogLevel.critical]
    text = eventAsText(event)
    assert "10.0.0.1:9246 (inbound): on_getaddr raised" in text
    assert "a defect" in text


# The trace.


def test_the_trace_has_the_whole_record_and_the_bytes():
    """Of what was received the payload, of what is sent the frame (T2)."""
    wired = connect().shake_hands()
    with LogCapture() as log:
        wired.feed(Ping(0x0102030405060708))
    received, sent = log.traced
    assert received == (
        "ping Ping(nonce=72623859790382856, trailing=b'')\n"
        "00000000  08 07 06 05 04 03 02 01                           |........|"
    )
    lines = sent.splitlines()
    assert lines[0] == "pong Pong(nonce=72623859790382856, trailing=b'')"
    assert lines[1].startswith("00000000  fa e4 aa f1 70 6f 6e 67  00 00 00 00 00 00 00 00  |")
    assert lines[1].endswith("|....pong........|")
    assert len(lines) == 3


def test_a_dump_looks_like_that_of_hexdump():
    """`hexdump -C`, but for repeated rows."""
    assert hex_dump(bytes(range(0x38, 0x4B))).splitlines() == [
        "00000000  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47  |89:;<=>?@ABCDEFG|",
        "00000010  48 49 4a                                          |HIJ|",
    ]
    assert hex_dump(b"") == ""
    assert hex_dump(b"\x1f\x20\x7e\x7f").endswith("|. ~.|")


def test_a_long_dump_is_cut():
    """At 4 KiB: what is longer is read in a capture."""
    lines = hex_dump(bytes(5000)).splitlines()
    assert len(lines) == 257
    assert lines[-1] == "... 904 more bytes"


# What it costs.


class Counted(Ping, frozen=True, gc=False):
    """A message that counts how often it is described."""

    described: ClassVar[list[str]] = []

    def summary(self) -> str:
        self.described.append("summary")
        return "counted"

    def __repr__(self) -> str:
        self.described.append("repr")
        return "counted"


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each dump was made of."""
    Counted.described.clear()
    made: list[int] = []
    monkeypatch.setattr(peer_log, "hex_dump", lambda data: made.append(len(data)) or "")
    return made


def send_one_through(observer: Any) -> None:
    """Let a peer send a message and receive one, with an observer."""
    wired = connect().shake_hands()
    globalLogPublisher.addObserver(observer)
    try:
        wired.peer.send(Counted(5))
        wired.feed(GetAddr())
    finally:
        globalLogPublisher.removeObserver(observer)


def filtered(**levels: LogLevel) -> tuple[io.StringIO, FilteringLogObserver]:
    """Return an observer as docs/peer.md shows it, with levels for `peer` and `trace`."""
    predicate = LogLevelFilterPredicate(LogLevel.info)
    for name, level in levels.items():
        namespace = "lbcproxy.peer" + (".trace" if name == "trace" else "")
        predicate.setLogLevelForNamespace(namespace, level)
    stream = io.StringIO()
    return stream, FilteringLogObserver(textFileLogObserver(stream), [predicate])


def test_nothing_is_described_that_nobody_sees(dumps: list[int]):
    """With an observer that shows what is important only, no summary and no dump is made."""
    stream, observer = filtered()
    send_one_through(observer)
    assert (stream.getvalue(), Counted.described, dumps) == ("", [], [])


def test_at_debug_only_summaries_are_made(dumps: list[int]):
    """Once each; with the trace held back there is no dump."""
    stream, observer = filtered(peer=LogLevel.debug, trace=LogLevel.info)
    send_one_through(observer)
    assert "sending ping (counted) to 10.0.0.1:9246 (inbound)" in stream.getvalue()
    assert (Counted.described, dumps) == (["summary"], [])


def test_with_the_trace_all_is_made(dumps: list[int]):
    """The peer's level is that of the trace unless it is set."""
    _, observer = filtered(peer=LogLevel.debug)
    send_one_through(observer)
    assert (Counted.described, dumps) == (["summary", "repr"], [32, 0])


def test_kept_entries_keep_no_message():
    """Twisted keeps the last 200 entries until logging begins; messages may have megabytes."""

    class Kept:
        command = "kept"

        def summary(self) -> str:
            return "kept"

    events: list[dict[str, Any]] = []
    record = Kept()
    gone = weakref.ref(record)
    globalLogPublisher.addObserver(events.append)
    try:
        PeerLog("a peer").sending(record, bytes(10))  # type: ignore[arg-type]
    finally:
        globalLogPublisher.removeObserver(events.append)
    del record
    gc.collect()
    assert gone() is None
    assert [formatEvent(event) for event in events] == [
        "sending kept to a peer",
        "kept \n",
    ]


def test_what_is_not_a_message_is_not_logged_as_one():
    """The entry about the error has it."""
    wired = connect().shake_hands()
    with LogCapture() as log:
        wired.feed(encoded(SendAddrV2()).replace(b"sendaddrv2", b"sendaddrvX"))
    assert [line for line in log.lines if line.startswith("received")] == []


def test_what_is_logged_of_a_peer_acts_on_no_terminal():
    """Whatever observes the log of Twisted: that of twistd writes texts as they are."""
    log = Logger(namespace="lbcproxy.peer.test", observer=peer_log.LOG_FILTER)
    with LogCapture() as seen:
        log.warn("{words} {error} {count}", words="a\x1b[2J\nb", error=OSError("\x9b"), count=3)
    assert seen.entries[-1][-1].endswith(r"a\x1b[2J\nb \x9b 3")


def test_the_log_filter_s_former_name_still_works():
    """Plugins that log through it keep working for a release."""
    with pytest.warns(DeprecationWarning, match="LOG_FILTER"):
        assert peer_log.GATE is peer_log.LOG_FILTER


def test_a_log_filter_passes_everything_until_it_has_a_level():
    """Entries about messages are made if the level lets them pass."""
    new = peer_log.LogFilter()
    assert (new.level, new.shows_messages) == (LogLevel.debug, True)
    new.level = LogLevel.info
    assert (new.level, new.shows_messages) == (LogLevel.info, False)
