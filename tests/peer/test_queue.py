"""Tests of the send queue: order, bounds, and what is reported (docs/peer-lbcd.md C)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred

from lbcproxy.peer import Policy, Timeouts
from lbcproxy.wire import BadRecord
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.bloom import FilterAdd
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import GetData, Inv, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping, Pong
from lbcproxy.wire.messages.reject import Alert, Reject
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.peer.builders import CONFIG, Callbacks, Wired, connect, encoded, version
from tests.proxy.transports import WATERMARK

EITHER_WAY = pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
MAGIC = CONFIG.network.magic
BLOCK = InventoryVector(InvType.BLOCK, bytes(32))


def big(size: int = 1 << 20) -> Alert:
    """A message of about so many bytes."""
    return Alert(bytes(size), b"")


class Fates:
    """The results of messages: `queue` one under a name, and look at `calls`."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired
        self.calls: list[tuple[Any, Any]] = []

    def queue(self, name: Any, record: Any = None, **options: Any) -> Deferred[bool]:
        deferred = self.wired.peer.queue_message(record or GetAddr(), **options)
        deferred.addCallbacks(
            lambda sent: self.calls.append((name, sent)),
            lambda failure: self.calls.append((name, failure.type)),
        )
        return deferred


def nonces(wired: Wired) -> list[int | None]:
    """Those of the pings that were sent."""
    return [each.nonce for each in wired.sent if isinstance(each, Ping)]


# In order.


@pytest.mark.slow
def test_ten_thousand_messages_go_out_in_order():
    """Each Deferred fires once, in order, though the node reads in small pieces."""
    wired = connect().shake_hands()
    fates = Fates(wired)
    for number in range(10_000):
        fates.queue(number, Ping(number + 1))
    assert 0 < len(fates.calls) < 10_000
    while wired.wire.waiting:
        wired.wire.read(50_000)
    assert nonces(wired) == list(range(1, 10_001))
    assert fates.calls == [(number, True) for number in range(10_000)]
    assert wired.peer.snapshot().queued_bytes == 0


def test_a_message_is_reported_sent_when_the_transport_has_it():
    """Not before: one that waits behind a full transport may still be given up."""
    wired = connect().shake_hands()
    fates = Fates(wired)
    fates.queue("big", big(WATERMARK))
    fates.queue("next")
    assert fates.calls == [("big", True)]
    assert wired.commands == ["alert"]
    wired.read()
    assert fates.calls == [("big", True), ("next", True)]
    assert wired.commands == ["alert", "getaddr"]


def test_a_block_is_announced_after_what_waits():
    """It jumps no queue (C8)."""
    wired = connect().shake_hands()
    wired.peer.send(big(WATERMARK))
    wired.peer.send(Ping(1))
    wired.peer.queue_inventory(BLOCK)
    wired.read()
    assert wired.commands == ["alert", "ping", "inv"]


def test_reading_goes_on_while_writing_is_held_back():
    """And the other way round: full duplex (A1)."""
    wired = connect().shake_hands()
    wired.peer.send(big(WATERMARK))
    wired.feed(Ping(5))
    assert len(wired.callbacks.of("on_ping")) == 1
    assert wired.commands == ["alert"]
    wired.read()
    assert wired.sent[1:] == [Pong(5)]


def test_writing_goes_on_while_a_callback_is_waited_for():
    """Only reading waits for it."""
    waiting: Deferred[None] = Deferred()
    wired = connect(callbacks=Callbacks(on_ping=lambda peer, record: waiting)).shake_hands()
    wired.feed(Ping(1))
    wired.peer.send(GetAddr())
    assert wired.commands == ["pong", "getaddr"]
    waiting.callback(None)


def test_witnesses_go_out_for_whom_they_are_wanted():
    """The user decides it for each message (A7)."""
    spent = TxIn(bytes(32), 0, b"", 0, witness=(b"w",))
    tx = Tx(1, (spent,), (TxOut(1, b""),), 0)
    wired = connect()
    wired.peer.send(tx, witness=True)
    wired.feed(version(), VerAck())
    wired.peer.send(tx)
    wired.peer.send(tx, witness=True)
    base, witness = (encoded(tx, witness=False), encoded(tx))
    assert wired.bytes_sent.endswith(witness + base + witness)
    assert len(witness) > len(base)


# At every time.


@EITHER_WAY
def test_what_is_queued_before_there_is_a_connection_waits_for_the_handshake(inbound: bool):
    """A new peer can be used at once; lbcd drops such messages (C2)."""
    wired = connect(inbound=inbound, opened=False)
    fates = Fates(wired)
    fates.queue("early", Ping(1))
    wired.peer.queue_inventory(BLOCK)
    wired.open().feed(version())
    assert fates.calls == []
    wired.feed(VerAck())
    assert fates.calls == [("early", True)]
    assert wired.commands == ["version", "verack", "ping", "inv"]


@EITHER_WAY
@pytest.mark.parametrize(
    "end",
    [
        lambda wired: wired.feed(Ping(1)),
        lambda wired: wired.feed(bytes(100)),
        lambda wired: wired.pass_time(30),
        lambda wired: wired.wire.reset(),
        lambda wired: wired.wire.finish(),
        lambda wired: wired.peer.disconnect(),
        lambda wired: wired.feed(version(1)),
    ],
    ids=["refused", "malformed", "too late", "reset", "closed", "by us", "obsolete"],
)
def test_a_failed_handshake_notifies_everyone_who_queued(end: Any, inbound: bool):
    """In lbcd they wait for ever (B18)."""
    wired = connect(inbound=inbound, opened=False, policy=Policy.STRICT)
    fates = Fates(wired)
    fates.queue("before")
    wired.open()
    fates.queue("during")
    end(wired)
    assert fates.calls == [("before", False), ("during", False)]
    assert "getaddr" not in wired.commands


def test_what_is_queued_after_the_end_is_reported_at_once():
    """Also while what was written still goes out, and after."""
    wired = connect().shake_hands()
    fates = Fates(wired)
    wired.peer.send(big())
    wired.peer.disconnect()
    fates.queue("closing")
    assert fates.calls == [("closing", False)]
    wired.read()
    assert not wired.wire.connected
    fates.queue("closed")
    wired.peer.send(GetAddr())
    wired.peer.queue_inventory(BLOCK)
    wired.peer.add_known_inventory(BLOCK)
    assert fates.calls == [("closing", False), ("closed", False)]
    assert wired.commands == ["alert"]


@pytest.mark.parametrize("name", ["on_disconnected", "on_write", "on_read", "on_ping"])
def test_callbacks_may_queue(name: str):
    """And their Deferreds fire; after the end with False."""
    fates: list[Any] = []

    def act(peer: Any, *_: object) -> None:
        if len(fates) < 3:
            peer.queue_message(Ping(len(fates) + 1)).addCallback(fates.append)

    wired = connect(callbacks=Callbacks(**{name: act})).shake_hands()
    fates.clear()
    wired.feed(Ping(9))
    wired.peer.disconnect()
    wired.read()
    assert set(fates) == {name != "on_disconnected"}


@pytest.mark.slow
def test_a_callback_may_queue_the_next_message():
    """A chain of ten thousand neither nests nor goes out of order."""
    wired = connect().shake_hands()
    count = 0

    def again(sent: bool) -> None:
        nonlocal count
        count += 1
        if sent and count < 10_000:
            wired.peer.queue_message(Ping(count)).addCallback(again)

    wired.peer.send(big())
    wired.peer.queue_message(GetAddr()).addCallback(again)
    wired.read()
    assert count == 10_000
    assert nonces(wired) == list(range(1, 10_000))


def test_a_callback_of_the_end_may_queue_and_disconnect():
    """It changes nothing, and nobody waits."""
    wired = connect().shake_hands()
    wired.peer.send(big())
    fates = Fates(wired)

    def again(_: bool) -> None:
        fates.queue("again")
        wired.peer.disconnect()

    fates.queue("first").addCallback(again)
    wired.peer.disconnect()
    assert fates.calls == [("first", False), ("again", False)]


def test_one_who_no_longer_wants_to_know_disturbs_nobody():
    """A cancelled Deferred's message is sent anyway."""
    wired = connect().shake_hands()
    wired.peer.send(big())
    fates = Fates(wired)
    fates.queue("one").cancel()
    fates.queue("two")
    wired.read()
    assert fates.calls == [("one", CancelledError), ("two", True)]
    assert wired.commands == ["alert", "getaddr", "getaddr"]


def test_an_error_in_a_callback_is_logged_as_theirs():
    """It stays in their Deferred."""
    wired = connect().shake_hands()
    sent = wired.peer.queue_message(GetAddr())
    sent.addCallback(lambda _: 1 // 0)
    failures: list[Any] = []
    sent.addErrback(lambda failure: failures.append(failure.type))
    assert failures == [ZeroDivisionError]
    assert wired.peer.is_ready


# What cannot be sent.

UNSENDABLE = {
    "feefilter at 70012": FeeFilter(1),
    "too many": GetData((BLOCK,) * 50_001),
    "too long": FilterAdd(bytes(521)),
    "ping without a nonce": Ping(),
    "a number that is none": Ping("x"),  # type: ignore[arg-type]
    "no record": "ping",
}


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "before the handshake"])
@pytest.mark.parametrize("record", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_encoded_fails_alone(record: Any, ready: bool):
    """In lbcd it costs the connection, which can do nothing for it (C7)."""
    wired = connect()
    fates = Fates(wired)
    if ready:
        wired.shake_hands(70012)
    fates.queue("bad", record)
    wired.peer.send(record)
    fates.queue("good", Ping(3))
    if not ready:
        wired.feed(version(70012), VerAck())
    assert fates.calls == [("bad", BadRecord), ("good", True)]
    assert nonces(wired) == [3]
    assert wired.peer.is_ready


# Bounds.


def test_bytes_that_wait_are_bounded():
    """A node that does not read must not cost us all memory; others are not affected."""
    config = msgspec.structs.replace(CONFIG, most_queued=1 << 20)
    wired, other = connect(config).shake_hands(), connect(config).shake_hands()
    fates = Fates(wired)
    for number in range(17):
        assert not wired.closed
        fates.queue(number, big(1 << 16))
        other.peer.send(big(1 << 16))
        other.read()
    assert wired.closed
    assert fates.calls == [(0, True), *((number, False) for number in range(1, 17))]
    assert other.peer.is_ready
    assert wired.peer.snapshot().queued_bytes == 0


def test_the_bound_itself_may_wait():
    """Each message counts its bytes and an overhead of 450."""
    size = len(encoded(Ping(1))) + 450
    config = msgspec.structs.replace(CONFIG, most_queued=3 * size)
    wired = connect(config).shake_hands()
    wired.peer.core.sender.filled(0)
    for _ in range(3):
        wired.peer.send(Ping(1))
    assert not wired.closed
    wired.peer.send(Ping(1))
    assert wired.closed


@pytest.mark.slow
def test_a_node_that_asks_and_never_reads_is_ended():
    """Answers to a flood of pings wait in the bounded queue; time is bounded too (C9)."""
    wired = connect().shake_hands()
    flood = encoded(Ping(1)) * 1000
    for _ in range(25):
        if not wired.closed:
            wired.feed(flood)
        wired.clock.advance(1)
    assert wired.closed
    wired.clock.advance(10)
    assert wired.wire.aborted
    assert len(wired.wire.waiting) < 2 * WATERMARK


@pytest.mark.parametrize(
    ("size", "seconds"), [(WATERMARK, 20), (1 << 20, 24), (10 << 20, 60)], ids=str
)
def test_a_node_has_time_to_read_by_the_size_of_what_was_sent(size: int, seconds: int):
    """20 s, and one more for each 256 KiB: then the connection is ended, though pings come."""
    wired = connect().shake_hands()
    wired.peer.send(big(size))
    for _ in range(seconds - 1):
        wired.clock.advance(1)
        wired.feed(Ping(1))
    wired.clock.advance(0.9)
    assert not wired.closed
    wired.clock.advance(0.1)
    assert wired.closed


def test_a_node_that_reads_in_time_gets_the_full_time_again():
    """Slow is not silent."""
    wired = connect().shake_hands()
    for _ in range(5):
        wired.peer.send(big(WATERMARK))
        wired.clock.advance(19)
        wired.read()
    wired.clock.advance(100)
    assert wired.peer.is_ready


# The end.


def test_disconnecting_discards_the_queue():
    """What the transport has is still read by the node; nothing else is passed to it (C5)."""
    wired = connect().shake_hands()
    fates = Fates(wired)
    fates.queue("out", big())
    fates.queue("waits", Ping(1))
    fates.queue("waits too", Ping(2))
    wired.peer.disconnect()
    assert fates.calls == [("out", True), ("waits", False), ("waits too", False)]
    assert wired.wire.connected
    wired.read()
    assert wired.commands == ["alert"]
    assert not wired.wire.connected
    assert not wired.wire.aborted


@pytest.mark.parametrize("close", [5.0, 1.0])
def test_a_node_that_does_not_read_is_cut_off(close: float):
    """`loseConnection` alone would wait for it for ever (M8)."""
    config = msgspec.structs.replace(CONFIG, timeouts=Timeouts(close=close))
    wired = connect(config).shake_hands()
    wired.peer.send(big())
    wired.peer.disconnect()
    wired.clock.advance(close - 0.1)
    assert not wired.wire.aborted
    wired.clock.advance(0.2)
    assert wired.wire.aborted
    wired.clock.advance(0)
    assert wired.callbacks.of("on_disconnected") == [("disconnected by us",)]


def test_last_words_go_out_after_all_that_waits():
    """A reject is flushed with the queue before it, and every Deferred fires (M1)."""
    wired = connect(policy=Policy.STRICT).shake_hands()
    fates = Fates(wired)
    for number in range(5):
        fates.queue(number, big(WATERMARK))
    wired.feed(frame(MAGIC, "nonsense", b""))
    assert fates.calls == [(number, True) for number in range(5)]
    wired.read()
    assert wired.commands == ["alert"] * 5 + ["reject"]
    assert not wired.wire.connected
    assert not wired.wire.aborted


def test_last_words_to_a_node_that_does_not_read_are_cut_off():
    """No matter how much waits; the clock has one call left, and it ends everything."""
    wired = connect(policy=Policy.STRICT).shake_hands()
    for _ in range(5):
        wired.peer.send(big(WATERMARK))
    wired.feed(frame(MAGIC, "nonsense", b""))
    assert wired.calls_left == 1
    wired.clock.advance(4.9)
    assert not wired.wire.aborted
    wired.clock.advance(0.1)
    wired.clock.advance(0)
    assert wired.wire.aborted
    assert wired.calls_left == 0
    assert not wired.peer.is_open


def test_counters_hold_what_was_written():
    """Header and all, in both directions; what is given up does not count."""
    wired = connect().feed(version(), VerAck())
    fates = Fates(wired)
    fates.queue("out", big())
    fates.queue("not out")
    wired.peer.disconnect()
    seen = wired.peer.snapshot()
    assert seen.bytes_sent == len(wired.bytes_sent)
    assert seen.bytes_received == len(encoded(version())) + 24
    assert "getaddr" not in seen.sent


def test_disconnecting_in_on_write_cuts_nothing_in_half():
    """What the core wrote is sent whole: counters and Deferreds match the wire."""
    callbacks = Callbacks(on_write=lambda peer, size, record: peer.disconnect())
    wired = connect(callbacks=callbacks).feed(version())
    assert wired.commands == ["version", "verack"]
    assert wired.peer.snapshot().bytes_sent == len(wired.bytes_sent)
    assert wired.closed


def test_disconnecting_in_on_write_gives_the_rest_up():
    """Of the queue nothing more goes out."""
    wired = connect().shake_hands()
    fates = Fates(wired)
    wired.peer.send(big())
    for number in range(3):
        fates.queue(number, Ping(number + 1))
    wired.callbacks.on["on_write"] = lambda peer, size, record: peer.disconnect()
    wired.read()
    assert nonces(wired) == [1]
    assert sorted(fates.calls) == [(0, True), (1, False), (2, False)]


def test_inventory_of_the_node_is_not_queued_after_a_reject():
    """Nothing follows last words."""
    wired = connect(policy=Policy.STRICT).shake_hands()
    wired.feed(frame(MAGIC, "nonsense", b""), Inv((BLOCK,)), Ping(1))
    assert [type(each) for each in wired.sent] == [Reject]
