"""Tests of a peer's life: connections in every order, waiters, ends (docs/peer-lbcd.md A, E)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection

from lbcproxy.peer import Peer, PeerClosed, Policy
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import FeeFilter, MemPool, Ping, SendHeaders
from lbcproxy.wire.messages.reject import Alert
from tests.peer.builders import CONFIG, REGTEST, Callbacks, Wire, Wired, connect, encoded, version

EITHER_WAY = pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
BOTH = pytest.mark.parametrize("policy", [Policy.STRICT, Policy.TOLERANT], ids=lambda p: p.value)


class Waiting:
    """Records how waiters were fired, in order."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired
        self.calls: list[Any] = []

    def ready(self, name: str) -> Deferred[Any]:
        return self._add(name, self.wired.peer.when_ready())

    def gone(self, name: str) -> Deferred[Any]:
        return self._add(name, self.wired.peer.when_disconnected())

    def _add(self, name: str, deferred: Deferred[Any]) -> Deferred[Any]:
        return deferred.addCallbacks(
            lambda value: self.calls.append((name, value)),
            lambda failure: self.calls.append((name, failure.type)),
        )


# Connections.


@EITHER_WAY
def test_a_second_connection_is_cut_and_the_first_goes_on(inbound: bool):
    """By lbcd it is ignored, and left open (E2)."""
    wired = connect(inbound=inbound)
    second = Wire(wired.clock, wired.peer, 2)
    wired.peer.makeConnection(second)
    assert second.calls == ["abort"]
    assert second.waiting == b""
    wired.shake_hands()
    assert wired.peer.transport is wired.wire
    second.protocol = StringTransport()  # its end is not the peer's
    second.connected = False


@EITHER_WAY
def test_a_peer_that_was_disconnected_before_cuts_its_connection_once(inbound: bool):
    """In lbcd it is lost track of (E3)."""
    wired = connect(inbound=inbound, opened=False)
    waiting = Waiting(wired)
    waiting.gone("gone")
    waiting.ready("ready")
    wired.peer.disconnect("not needed")
    assert waiting.calls == [("ready", PeerClosed), ("gone", "not needed")]
    wired.open()
    assert wired.wire.calls.count("abort") == 1
    assert not wired.peer.is_connected
    wired.clock.advance(0)
    assert not wired.peer.is_open
    assert wired.bytes_sent == b""
    assert wired.callbacks.calls == [("on_disconnected", "not needed")]
    assert waiting.calls == [("ready", PeerClosed), ("gone", "not needed")]


def test_a_hundred_peers_are_connected_and_disconnected_in_any_order():
    """Each connection ends once, whichever came first."""
    for number in range(100):
        wired = connect(opened=False, inbound=number % 3 == 0)
        if number % 2:
            wired.peer.disconnect()
        wired.open()
        wired.peer.disconnect()
        wired.peer.makeConnection(Wire(wired.clock, wired.peer, 2))
        wired.peer.disconnect()
        wired.end()
        assert not wired.wire.connected
        assert wired.callbacks.names("on_write") == ["on_disconnected"]
        assert wired.wire.calls.count("abort") + wired.wire.calls.count("close") == 1


def test_a_lost_peer_is_not_connected_again():
    """A peer is one connection: its numbers would mean nothing."""
    wired = connect().shake_hands()
    wired.wire.reset()
    second = Wire(wired.clock, wired.peer, 2)
    wired.peer.makeConnection(second)
    assert second.calls == ["abort"]
    second.connected = False


@EITHER_WAY
def test_what_is_known_can_be_asked_at_any_time(inbound: bool):
    """Before, while and after; addresses stay (A2, A4)."""
    wired = connect(inbound=inbound, opened=False)
    peer = wired.peer
    assert not peer.is_open
    assert not peer.is_connected
    assert peer.local_address == peer.address == ("", 0)
    before = peer.snapshot()
    assert (before.id, before.version, before.connected_at) == (0, None, None)
    assert before.protocol_version == 70016
    wants = (before.wants_headers, before.wants_addrv2, before.wants_wtxids, before.has_witness)
    assert (wants, before.last_announced) == ((False,) * 4, None)
    wired.open().shake_hands(services=9)
    peer.update_last_announced(bytes(31) + b"\1")
    wired.feed(SendHeaders())
    assert peer.is_connected
    assert peer.local_address == ("10.0.0.2", 9246)
    peer.disconnect()
    assert not peer.is_connected
    wired.read()
    assert peer.local_address == ("10.0.0.2", 9246)
    after = peer.snapshot()
    assert (after.address, after.version, after.inbound) == ("10.0.0.1:9246", 70013, inbound)
    assert (after.wants_headers, after.has_witness) == (True, True)
    assert after.to_dict()["last_announced"] == "01" + "00" * 31
    assert str(peer) == f"10.0.0.1:9246 ({'inbound' if inbound else 'outbound'})"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("node.example:9246", "node.example:9246"),
        ("1.2.3.4:0", "1.2.3.4:0"),
        ("[::1]:65535", "[::1]:65535"),
    ],
)
def test_an_address_can_be_given(address: str, shown: str):
    """The transport does not know which node is behind a proxy (E1)."""
    wired = connect(inbound=False, address=address, opened=False)
    assert str(wired.peer.address) == shown
    assert wired.peer.snapshot().address == shown


BAD = ["node", "node:", "node:x", "node:65536", "node:-1", "node:0000070000", "::1", "node:1²"]


@pytest.mark.parametrize("address", BAD)
def test_an_address_needs_a_host_and_a_port(address: str):
    """It is refused where it was written."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        connect(inbound=False, address=address, opened=False)


@EITHER_WAY
def test_a_transport_without_an_ip_address_will_do(inbound: bool):
    """A UNIX socket has a path and no port; the handshake needs neither."""
    wired = connect(inbound=inbound, opened=False)
    wired.wire.getPeer = lambda: UNIXAddress("/tmp/node")  # type: ignore[method-assign]
    wired.open().shake_hands()
    assert wired.peer.address == ("", 0)


@pytest.mark.parametrize("kind", [StringTransport, StringTransportWithDisconnection])
def test_any_transport_will_do(kind: Any):
    """Also one that is lost within `loseConnection`: everything is reported once, in order."""
    clock, callbacks = Clock(), Callbacks()
    peer = Peer(CONFIG, clock=clock, callbacks=callbacks, inbound=False)
    transport = kind()
    transport.protocol = peer
    peer.makeConnection(transport)
    peer.dataReceived(encoded(version()) + encoded(VerAck()))
    assert peer.is_ready
    order: list[str] = []
    transport.producer.pauseProducing()
    peer.queue_message(GetAddr()).addCallback(lambda sent: order.append(f"queued {sent}"))
    peer.when_disconnected().addCallback(lambda why: order.append(f"gone: {why}"))
    peer.disconnect("enough")
    if kind is StringTransport:
        peer.connectionLost()
    assert order == ["queued False", "gone: enough"]
    assert callbacks.names()[-1] == "on_disconnected"
    assert clock.getDelayedCalls() == []


def test_a_peer_that_speaks_needs_a_clock_and_a_transparent_one_an_owner():
    """It is said at once, not at the first timer."""
    with pytest.raises(TypeError, match="clock"):
        Peer(CONFIG)
    with pytest.raises(TypeError, match="owner"):
        Peer(msgspec.structs.replace(CONFIG, policy=Policy.TRANSPARENT))


# Waiters.


def test_each_waiter_has_a_deferred_of_its_own():
    """One that is cancelled, or fails, harms no other."""
    wired = connect()
    waiting = Waiting(wired)
    one, two = waiting.ready("one"), waiting.ready("two")
    waiting.ready("three").addCallback(lambda _: 1 // 0).addErrback(lambda _: None)
    assert one is not two
    one.cancel()
    wired.shake_hands()
    assert waiting.calls == [("one", CancelledError), ("two", wired.peer), ("three", wired.peer)]
    waiting.ready("late")
    assert waiting.calls[3:] == [("late", wired.peer)]
    gone = waiting.gone("gone")
    waiting.gone("cancelled").cancel()
    wired.peer.disconnect("why")
    waiting.ready("too late")
    assert not gone.called
    wired.read()
    waiting.gone("after")
    assert waiting.calls[4:] == [
        ("cancelled", CancelledError),
        ("too late", PeerClosed),
        ("gone", "why"),
        ("after", "why"),
    ]


def test_a_waiter_may_cancel_another():
    """While they are being fired."""
    wired = connect()
    waiting = Waiting(wired)
    others: list[Deferred[Any]] = []
    waiting.ready("one").addCallback(lambda _: others[0].cancel())
    others.append(waiting.ready("two"))
    waiting.ready("three")
    wired.shake_hands()
    assert [name for name, _ in waiting.calls] == ["one", "two", "three"]
    assert waiting.calls[1] == ("two", CancelledError)


@EITHER_WAY
@BOTH
@pytest.mark.parametrize("said", [[], [version()]], ids=["before version", "before verack"])
@pytest.mark.parametrize("how", ["reset", "finish"])
def test_a_connection_lost_in_the_handshake_notifies_everyone(
    how: str, said: list[Any], policy: Policy, inbound: bool
):
    """Ready waiters before those for the end, and nothing is left to be called (31)."""
    wired = connect(policy=policy, inbound=inbound).feed(*said)
    waiting = Waiting(wired)
    waiting.gone("gone")
    waiting.ready("ready")
    wired.peer.queue_message(GetAddr()).addCallback(lambda sent: waiting.calls.append(sent))
    getattr(wired.wire, how)()
    wired.read()
    why = "connection lost" if how == "reset" else "closed by the node"
    assert waiting.calls == [False, ("ready", PeerClosed), ("gone", why)]
    assert wired.calls_left == 0
    assert not wired.peer.is_open


def test_ready_is_reported_before_the_end_even_if_both_come_at_once():
    """A sync that starts at `ready` must not start after the end (btcd PR 2480)."""
    wired = connect(callbacks=Callbacks(on_ready=lambda peer: peer.disconnect("at once")))
    waiting = Waiting(wired)
    waiting.gone("gone")
    waiting.ready("ready")
    wired.feed(version(), VerAck(), Ping(1)).read()
    assert waiting.calls == [("ready", wired.peer), ("gone", "at once")]
    assert wired.callbacks.names("on_read", "on_write", "on_message") == [
        "on_version",
        "on_verack",
        "on_ready",
        "on_disconnected",
    ]


# The end.


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda wired: wired.peer.disconnect(), "disconnected by us"),
        (lambda wired: wired.peer.disconnect("enough"), "enough"),
        (lambda wired: wired.peer.disconnect(""), "no reason given"),
        (lambda wired: wired.wire.finish(), "closed by the node"),
        (lambda wired: wired.wire.reset(), "connection lost"),
    ],
)
def test_the_end_is_reported_once_with_its_reason(end: Any, why: str):
    """However often, and by whom, it is asked for again."""
    wired = connect().shake_hands()
    waiting = Waiting(wired)
    waiting.gone("gone")
    end(wired)
    wired.peer.disconnect("again")
    end(wired)
    wired.read()
    wired.peer.disconnect("and again")
    assert waiting.calls == [("gone", why)]
    assert wired.callbacks.of("on_disconnected") == [(why,)]
    assert wired.calls_left == 0
    assert wired.bytes_sent == b""


NAMES = ["on_version", "on_verack", "on_message", "on_read", "on_write", "on_ready", "on_ping"]


@EITHER_WAY
@pytest.mark.parametrize("name", NAMES)
def test_every_callback_may_disconnect(name: str, inbound: bool):
    """Twice, and once more at the end; nothing is called after it but the end."""

    def act(peer: Peer, *_: object) -> None:
        peer.disconnect("from a callback")
        peer.disconnect("again")

    callbacks = Callbacks(**{name: act, "on_disconnected": lambda peer, why: peer.disconnect()})
    wired = connect(inbound=inbound, callbacks=callbacks)
    wired.feed(version(), VerAck(), Ping(1), Ping(2)).read()
    assert callbacks.of("on_disconnected") == [("from a callback",)]
    names = callbacks.names("on_write")
    assert name == "on_write" or names[-2:] == [name, "on_disconnected"]
    assert not wired.wire.connected
    assert wired.calls_left == 0


def test_a_deferred_of_the_end_may_disconnect():
    """Nothing nests."""
    wired = connect().shake_hands()
    wired.peer.when_disconnected().addCallback(lambda _: wired.peer.disconnect())
    wired.wire.reset()
    assert len(wired.callbacks.of("on_disconnected")) == 1


def test_a_node_that_closes_its_half_gets_what_was_written():
    """And no more: what waits after it is given up (59)."""
    wired = connect().shake_hands()
    wired.peer.send(Alert(bytes(1 << 20), b""))
    fates: list[bool] = []
    wired.peer.queue_message(GetAddr()).addCallback(fates.append)
    wired.wire.finish()
    assert fates == [False]
    assert wired.wire.connected
    wired.read()
    assert wired.commands == ["alert"]
    assert not wired.wire.connected
    assert not wired.wire.aborted


def test_a_node_that_closes_its_half_and_does_not_read_is_cut_off():
    """It gets the time of last words."""
    wired = connect().shake_hands()
    wired.peer.send(Alert(bytes(1 << 20), b""))
    wired.wire.finish()
    wired.clock.advance(5)
    wired.clock.advance(0)
    assert wired.wire.aborted
    assert not wired.peer.is_open


def test_messages_before_a_close_are_taken():
    """They came before it."""
    wired = connect().shake_hands()
    wired.feed(Ping(1))
    wired.wire.finish()
    assert wired.callbacks.of("on_ping") == [(Ping(1),)]


def test_a_reset_while_a_node_does_not_read_ends_everything():
    """Nothing waits for the write deadline then."""
    wired = connect().shake_hands()
    wired.peer.send(Alert(bytes(1 << 20), b""))
    wired.wire.reset()
    assert wired.calls_left == 0
    assert wired.callbacks.of("on_disconnected") == [("connection lost",)]


def test_one_delayed_call_is_all_a_peer_needs():
    """Ten thousand messages leave ten thousand timers nowhere."""
    wired = connect().shake_hands()
    wired.feed(*[Ping(1)] * 2000)
    assert wired.calls_left == 1


def test_lbcds_own_session_on_regtest_does_not_fail():
    """Pushes, questions and two rejects, and then the end (lbcd's test of them)."""
    config = msgspec.structs.replace(CONFIG, network=REGTEST)
    wired = connect(config, inbound=False).shake_hands(protocol := 70013)
    peer = wired.peer
    peer.push_addr([])
    assert peer.push_get_blocks([], bytes(32))
    assert peer.push_get_headers([], bytes(32))
    peer.push_reject("block", 1, "malformed", None)
    peer.push_reject("block", 1, "malformed", None)
    data = GetData((InventoryVector(InvType.BLOCK, bytes(32)),))
    for record in (GetAddr(), Ping(1), MemPool(), data, FeeFilter(1)):
        peer.send(record)
    peer.disconnect()
    wired.read()
    expected = ["getblocks", "getheaders", "reject", "reject", "getaddr", "ping", "mempool"]
    assert wired.commands == [*expected, "getdata", "feefilter"]
    assert wired.peer.core.protocol_version == protocol


def test_a_pause_before_the_connection_holds():
    """All of a peer's methods may be called before the connection is there."""
    wired = connect(opened=False)
    wired.peer.pause("not yet")
    wired.open()
    assert not wired.wire.reading
    wired.peer.resume("not yet")
    assert wired.wire.reading
