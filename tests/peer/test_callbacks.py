"""Tests of callbacks: their order, one at a time, and failures (docs/peer-lbcd.md A1, K)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, succeed

from lbcproxy import networks
from lbcproxy.peer import Peer, PeerConfig, Policy, Timeouts
from lbcproxy.peer.callbacks import CallbackDispatcher
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.handshake import VerAck
from lbcproxy.wire.messages.inventory import GetData, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import CONFIG, Callbacks, Wired, connect, encoded, version
from tests.vector_files import load, payload_of

BLOCK = InventoryVector(InvType.BLOCK, bytes(32))
TX = InventoryVector(InvType.TX, bytes(32))


class Slow:
    """An async callback that waits until `done` is called; so many times."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []

    async def __call__(self, peer: Peer, record: Any) -> Any:
        deferred: Deferred[Any] = Deferred()
        self.waiting.append(deferred)
        return await deferred

    def done(self, value: Any = None) -> None:
        self.waiting.pop(0).callback(value)

    def fail(self) -> None:
        self.waiting.pop(0).errback(RuntimeError("a defect"))


def slow() -> tuple[Wired, Slow]:
    """A peer with a slow `on_ping`."""
    callback = Slow()
    return connect(callbacks=Callbacks(on_ping=callback)).shake_hands(), callback


def pings(wired: Wired) -> list[int]:
    """Which came to `on_ping`."""
    return [record.nonce for (record,) in wired.callbacks.of("on_ping")]


# Order.


def test_the_callbacks_of_a_message_are_called_in_order():
    """First that it was read, then any message, then this one; the pong is queued before."""
    wired = connect().shake_hands().feed(Ping(7))
    assert wired.callbacks.names() == ["on_read", "on_message", "on_ping", "on_write"]
    ((size, message, error),) = wired.callbacks.of("on_read")
    assert (size, error, message.record) == (32, None, Ping(7))
    assert wired.callbacks.of("on_write") == [(32, Pong(7))]


def one_of_each_command() -> list[dict[str, Any]]:
    """A vector of each command that may come after the handshake."""
    found: dict[str, dict[str, Any]] = {}
    for vector in load("vectors"):
        if vector["pver"] >= 70013 and len(payload_of(vector)) < 5000:
            found.setdefault(vector["command"], vector)
    return [found[name] for name in found if name not in HANDSHAKE]


HANDSHAKE = ("version", "verack", "sendaddrv2", "wtxidrelay")
"""What is not accepted after the handshake."""


@pytest.mark.parametrize("vector", one_of_each_command(), ids=lambda vector: vector["command"])
def test_every_command_has_its_callback(vector: dict[str, Any]):
    """`on_cfcheckpt`, which lbcd declares and never calls, among them."""
    network = networks.get(vector["network"])
    wired = connect(PeerConfig(network=network, services=0xFF, protocol_version=70016))
    wired.shake_hands(70016, services=0xFF)
    wired.feed(frame(network.magic, vector["command"], payload_of(vector)))
    assert len(wired.callbacks.of(f"on_{vector['command']}")) == 1
    assert not wired.closed


def test_callbacks_need_not_be_there():
    """A peer works by itself (K1)."""
    wired = connect(callbacks=object())
    wired.feed(version(), VerAck(), Ping(1))
    assert wired.commands == ["version", "verack", "pong"]
    assert wired.peer.is_ready


@pytest.mark.parametrize("through", ["coroutine", "deferred"])
def test_later_messages_wait_for_a_slow_callback(through: str):
    """One at a time, in wire order, and reading stops: later bytes stay with the node."""
    callback = Slow()

    def deferred(peer: Peer, record: Any) -> Any:
        return Deferred.fromCoroutine(callback(peer, record))

    chosen: Any = callback if through == "coroutine" else deferred
    wired = connect(callbacks=Callbacks(on_ping=chosen)).shake_hands()
    wired.feed(Ping(1), Ping(2), Ping(3))
    assert pings(wired) == [1]
    assert not wired.wire.reading
    wired.feed(Ping(4))
    assert wired.wire.incoming
    for number in (2, 3):
        callback.done()
        assert pings(wired) == list(range(1, number + 1))
    callback.done()
    assert wired.wire.reading
    wired.wire.deliver()
    assert pings(wired) == [1, 2, 3, 4]
    callback.done()
    assert wired.sent == [Pong(number) for number in (1, 2, 3, 4)]


def test_an_async_callback_that_need_not_wait_holds_nothing_up():
    """A thousand of them do not nest."""

    async def at_once(peer: Peer, record: Any) -> None:
        await succeed(None)

    wired = connect(callbacks=Callbacks(on_ping=at_once)).shake_hands()
    wired.feed(*[Ping(number) for number in range(1, 2000)])
    assert pings(wired) == list(range(1, 2000))
    assert wired.wire.reading


def test_on_message_is_waited_for_before_the_one_of_the_command():
    """It may decide something that the other needs."""
    wired, callback = connect().shake_hands(), Slow()
    wired.callbacks.on["on_message"] = callback
    wired.feed(Ping(1))
    assert pings(wired) == []
    callback.done()
    assert pings(wired) == [1]


def test_plain_callbacks_do_not_touch_the_transport():
    """Neither pause nor resume: the user may have paused it for a reason of their own."""
    wired = connect().shake_hands()
    wired.wire.calls.clear()
    wired.feed(Ping(1), GetAddr())
    assert wired.wire.calls == ["write"]
    wired.peer.pause("user")
    wired.peer.dataReceived(encoded(GetAddr()))
    assert wired.wire.calls == ["write", "pause"]


def test_a_pause_of_the_users_outlasts_a_slow_callback():
    """Named reasons do not undo each other."""
    wired, callback = slow()
    wired.feed(Ping(1))
    wired.peer.pause("user")
    callback.done()
    assert not wired.wire.reading
    wired.peer.resume("user")
    assert wired.wire.reading


# Re-entrancy.


def test_callbacks_may_do_everything_with_their_peer():
    """Queue, announce, push and ask: all of it goes out, in order."""

    def act(peer: Peer, record: Any) -> None:
        peer.send(GetAddr())
        peer.queue_inventory(BLOCK)
        peer.queue_inventory(TX)
        peer.add_known_inventory(TX)
        peer.push_get_headers([bytes(32)], bytes(32))
        peer.push_reject("tx", 1, "no")
        peer.queue_message(GetData((BLOCK,)))
        peer.snapshot()

    wired = connect(callbacks=Callbacks(on_ping=act)).shake_hands().feed(Ping(1))
    assert wired.commands == ["pong", "getaddr", "inv", "getheaders", "reject", "getdata"]


def test_a_callback_may_feed_its_own_peer():
    """A transport that delivers in the middle of a write must not mix messages up."""
    wired = connect().shake_hands()

    def echo(peer: Peer, size: int, record: Any) -> None:
        if isinstance(record, Pong) and record.nonce < 5:
            peer.dataReceived(encoded(Ping(record.nonce + 1)))

    wired.callbacks.on["on_write"] = echo
    wired.feed(Ping(1))
    assert pings(wired) == [1, 2, 3, 4, 5]
    assert [each.nonce for each in wired.sent if isinstance(each, Pong)] == [1, 2, 3, 4, 5]


def test_a_callback_may_talk_to_another_peer_that_answers_at_once():
    """Two peers in one process, each writing inside the other's callback."""
    one, other = connect().shake_hands(), connect().shake_hands()
    one.callbacks.on["on_getaddr"] = lambda peer, record: other.feed(Ping(1))
    other.callbacks.on["on_ping"] = lambda peer, record: one.peer.send(Ping(2))
    one.feed(GetAddr())
    assert one.sent == [Ping(2)]
    assert other.sent == [Pong(1)]


# What goes wrong.


def defect(*_: object) -> Any:
    """A callback with a defect."""
    raise RuntimeError("a defect")


async def late_defect(*_: object) -> Any:
    """One that is async."""
    raise RuntimeError("a defect")


def rejected(*_: object) -> Any:
    """One that answers with what has failed."""
    deferred: Deferred[Any] = Deferred()
    deferred.errback(RuntimeError("a defect"))
    return deferred


@pytest.mark.parametrize("broken", [defect, late_defect, rejected])
@pytest.mark.parametrize("name", ["on_ping", "on_message"])
def test_a_callback_that_fails_costs_its_peer_alone(name: str, broken: Any):
    """What was said before is sent, what comes later is not read; the log has it once (K4)."""
    callbacks = Callbacks()
    wired, other = connect(callbacks=callbacks).shake_hands(), connect().shake_hands()
    failures: list[str] = []
    wired.peer._log.failure = lambda at, failure: failures.append(at)  # type: ignore[method-assign]
    callbacks.on[name] = broken
    wired.feed(GetAddr() if name == "on_message" else Ping(1), Ping(2))
    other.feed(Ping(3))
    assert wired.closed
    assert other.sent == [Pong(3)]
    assert failures == [name]
    wired.read()
    assert callbacks.of("on_disconnected") == [(f"{name} raised a defect",)]
    assert len(callbacks.of("on_read")) == 1
    assert wired.peer.snapshot().received["version"][0] == 1
    assert wired.calls_left == 0


@pytest.mark.parametrize("name", ["on_read", "on_write", "on_ready"])
def test_other_callbacks_that_fail_cost_no_more(name: str):
    """They report what has already happened."""
    wired = connect(callbacks=Callbacks(**{name: defect}))
    wired.feed(version(), VerAck(), Ping(1)).read()
    assert wired.callbacks.of("on_disconnected") == [(f"{name} raised a defect",)]


def test_a_defect_at_the_end_is_too_late_to_cost_anything():
    """It is logged, and everyone else has been notified."""
    wired = connect(callbacks=Callbacks(on_disconnected=defect)).shake_hands()
    calls: list[str] = []
    wired.peer.when_disconnected().addCallback(calls.append)
    wired.peer.disconnect("enough")
    wired.read()
    assert calls == ["enough"]
    assert wired.calls_left == 0


@pytest.mark.parametrize("outcome", ["done", "fail"])
@pytest.mark.parametrize("end", ["reset", "disconnect", "finish"])
def test_a_connection_lost_in_the_middle_of_a_slow_callback_leaves_nothing(end: str, outcome: str):
    """When the callback is done at last, no timer comes back to life and no message is read."""
    wired, callback = slow()
    wired.feed(Ping(1), Ping(2))
    if end == "reset":
        wired.wire.reset()
    elif end == "disconnect":
        wired.peer.disconnect()
    else:
        wired.wire.reading = True
        wired.wire.finish()
    wired.read()
    assert wired.calls_left == 0
    assert len(wired.callbacks.of("on_disconnected")) == 1
    getattr(callback, outcome)()
    assert wired.calls_left == 0
    assert pings(wired) == [1]
    assert len(wired.callbacks.of("on_disconnected")) == 1


@pytest.mark.parametrize("phase", ["on_version", "on_verack"])
def test_a_connection_lost_while_the_handshake_waits_for_a_callback_leaves_nothing(phase: str):
    """Nothing is written after the end."""
    callback = Slow()
    wired = connect(callbacks=Callbacks(**{phase: callback})).feed(version(), VerAck())
    before = wired.bytes_sent
    wired.wire.reset()
    callback.done()
    assert wired.bytes_sent == before
    assert not wired.peer.is_ready
    assert wired.calls_left == 0


def test_a_slow_callback_that_never_ends_does_not_keep_the_connection():
    """The user may end it at any time (E8)."""
    wired, callback = slow()
    wired.feed(Ping(1))
    wired.pass_time(1000, step=50)
    assert not wired.closed
    wired.peer.disconnect()
    wired.read()
    assert not wired.wire.connected
    assert len(callback.waiting) == 1


@pytest.mark.parametrize("keepalive", [True, False])
def test_a_callback_has_an_hour(keepalive: bool):
    """While it runs nobody is blamed for silence, so nothing else would end it (E8)."""
    config = msgspec.structs.replace(CONFIG, keepalive=keepalive)
    callback = Slow()
    wired = connect(config, callbacks=Callbacks(on_ping=callback)).shake_hands()
    wired.feed(Ping(1), Ping(2))
    wired.pass_time(3590, step=10)
    assert not wired.closed
    callback.done()  # the next has an hour of its own
    wired.pass_time(3590, step=10)
    assert not wired.closed
    wired.pass_time(10)
    assert wired.peer.core.closed == "a callback has not ended in 3600 s"
    wired.read().pass_time(5)
    assert not wired.wire.connected
    assert wired.calls_left == 0


def test_the_hour_ends_with_the_callback():
    """A peer whose callbacks return is not disconnected an hour after the last one."""
    config = msgspec.structs.replace(CONFIG, timeouts=Timeouts(callback=50, idle=1000))
    wired = connect(config).shake_hands()
    wired.feed(Ping(1)).pass_time(60)
    assert not wired.closed


def test_a_misspelt_callback_is_found_at_once():
    """It would be silent for ever."""
    with pytest.raises(TypeError, match="on_versoin is not a callback, did you mean on_version"):
        connect(callbacks=Callbacks(on_versoin=defect))


def test_strict_or_tolerant_callbacks_see_the_same():
    """The policy decides what is accepted, not how it is reported."""
    both = [connect(policy=policy) for policy in (Policy.STRICT, Policy.TOLERANT)]
    names = [wired.feed(version(), VerAck(), Ping(1)).callbacks.names() for wired in both]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", ["on_read", "on_write", "on_ready", "on_disconnected"])
def test_a_callback_that_nobody_waits_for_cannot_be_async(name: str):
    """It would never run, and what it raises would be lost."""

    async def never(*_: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match=f"{name} cannot be async"):
        connect(callbacks=type("Mine", (), {name: never})())


def test_no_reason_of_a_users_is_taken_for_a_callback():
    """What a user calls their pause is theirs."""
    wired, callback = slow()
    wired.feed(Ping(1))
    wired.peer.pause("callback")
    callback.done()
    assert not wired.wire.reading


def test_a_callback_that_fails_later_is_reported_once_and_ends_what_follows():
    """Whoever waits for the last answer gets the failure."""
    calls: list[str] = []
    waited: Deferred[object] = Deferred()

    class Mine:
        async def on_ping(self, peer: object, argument: object) -> object:
            return await waited

        def on_pong(self, peer: object, argument: object) -> None:
            calls.append("never")

    dispatcher = CallbackDispatcher(None, Mine(), lambda name, failure: calls.append(name))
    answer = dispatcher.run(iter([("on_ping", 1), ("on_pong", 2)]))
    assert isinstance(answer, Deferred)
    failures: list[object] = []
    answer.addErrback(failures.append)
    waited.errback(RuntimeError("a defect"))
    assert calls == ["on_ping"]
    assert len(failures) == 1


def test_the_answer_is_that_of_the_last_callback():
    """Or the one given if there are none."""

    class Mine:
        def on_ping(self, peer: object, argument: int) -> int:
            return argument + 1

    dispatcher = CallbackDispatcher("peer", Mine(), lambda name, failure: None)
    assert dispatcher.run(iter([("on_ping", 1), ("on_ping", 5)])) == 6
    assert dispatcher.run(iter([]), "none") == "none"
    assert dispatcher.call("on_pong", 1) is None
