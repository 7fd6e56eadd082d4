"""Tests of the idle timeout: a node that is silent for five minutes (docs/peer-lbcd.md S1)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from lbcproxy.wire.messages.addresses import GetAddr
from tests.peer.builders import CONFIG, REGTEST, Callbacks, Wired, connect, encoded


def ready(callbacks: Callbacks | None = None, **changes: Any) -> Wired:
    """A peer after its handshake."""
    config = msgspec.structs.replace(CONFIG, **changes)
    return connect(config, callbacks=callbacks, host="127.0.0.1").shake_hands()


def waits_for(deferred: Deferred[None]) -> Any:
    """Make a callback that is done when a Deferred fires."""

    async def callback(peer: Any, record: Any) -> None:
        await deferred

    return callback


def test_a_silent_node_is_left_after_five_minutes():
    """Without a reject, and with the reason said."""
    wired = ready()
    wired.pass_time(299.9)
    assert not wired.closed
    wired.pass_time(0.1)
    assert wired.closed
    assert "no answer for 300 s" in wired.peer.core.closed
    assert set(wired.commands) == {"ping"}
    assert wired.calls_left == 0


def test_the_time_can_be_set():
    """As all times of a peer."""
    wired = ready(timeouts=msgspec.structs.replace(CONFIG.timeouts, idle=5))
    wired.pass_time(4.9)
    assert not wired.closed
    wired.pass_time(0.2)
    assert wired.closed


def test_each_message_restarts_the_time():
    """Any will do."""
    wired = ready()
    for _ in range(4):
        wired.pass_time(299)
        wired.feed(GetAddr())
    wired.pass_time(299)
    assert not wired.closed
    wired.pass_time(1)
    assert wired.closed


def test_what_we_send_does_not_count():
    """It is the node that has to show that it is there."""
    wired = ready()
    for _ in range(3):
        wired.pass_time(100)
        wired.peer.send(GetAddr())
    assert wired.closed


def test_a_partial_frame_does_not_count():
    """A node cannot hold the connection a byte at a time."""
    wired = ready()
    raw = encoded(GetAddr())
    for position in range(20):
        wired.pass_time(14)
        wired.feed(raw[position : position + 1])
    wired.pass_time(19.9)
    assert not wired.closed
    wired.pass_time(0.1)
    assert wired.closed


def test_a_forgiven_mistake_counts():
    """On regtest a neighbour's bad checksum shows that it is there (M3)."""
    wired = ready(network=REGTEST)
    raw = encoded(GetAddr(), network=REGTEST)
    wired.pass_time(200)
    wired.feed(raw[:20] + b"\0\0\0\0")
    wired.pass_time(200)
    assert not wired.closed
    wired.pass_time(100)
    assert wired.closed


def test_an_unknown_command_counts():
    """The tolerant peer ignores the message, not that it arrived."""
    wired = ready()
    wired.pass_time(200)
    wired.feed(encoded(GetAddr()).replace(b"getaddr", b"strange"))
    wired.pass_time(299)
    assert not wired.closed


def test_the_time_in_an_async_callback_does_not_count():
    """Until then we do not read, so the node cannot show that it is alive."""
    done: Deferred[None] = Deferred()
    wired = ready(Callbacks(on_getaddr=waits_for(done)))
    wired.pass_time(100)
    wired.feed(GetAddr())
    wired.pass_time(1000)
    assert not wired.closed
    done.callback(None)
    wired.pass_time(299.9)
    assert not wired.closed
    wired.pass_time(0.1)
    assert wired.closed


def test_the_time_in_a_plain_callback_does_not_count():
    """It blocks the reactor, which is not the node's fault."""
    wired = ready(Callbacks(on_getaddr=lambda peer, record: peer._clock.advance(301)))
    wired.feed(GetAddr())
    wired.pass_time(1)
    assert not wired.closed


def test_the_time_of_a_pause_does_not_count():
    """A paused connection does not even notice that the node has spoken."""
    wired = ready()
    wired.pass_time(100)
    wired.peer.pause("busy")
    wired.pass_time(1000)
    assert not wired.closed
    wired.peer.resume("busy")
    wired.pass_time(299.9)
    assert not wired.closed
    wired.pass_time(0.1)
    assert wired.closed


def test_a_pause_counts_until_its_last_reason_is_gone():
    """Pauses overlap with each other, and with callbacks, in any order."""
    done: Deferred[None] = Deferred()
    wired = ready(Callbacks(on_getaddr=waits_for(done)))
    wired.feed(GetAddr())
    wired.peer.pause("one")
    wired.peer.pause("other")
    wired.pass_time(200)
    done.callback(None)
    wired.pass_time(200)
    wired.peer.resume("one")
    wired.peer.resume("never paused")
    wired.pass_time(400)
    assert not wired.closed
    wired.peer.resume("other")
    wired.pass_time(299)
    assert not wired.closed
    wired.pass_time(1)
    assert wired.closed


@pytest.mark.parametrize("how", ["callback", "pause"])
def test_resuming_after_the_end_leaves_no_timer(how: str):
    """An async callback may outlive the connection; the reactor must be left clean."""
    done: Deferred[None] = Deferred()
    wired = ready(Callbacks(on_getaddr=waits_for(done)))
    if how == "callback":
        wired.feed(GetAddr())
    else:
        wired.peer.pause("busy")
    wired.peer.disconnect()
    wired.read()
    assert not wired.wire.connected
    if how == "callback":
        done.callback(None)
    else:
        wired.peer.resume("busy")
    assert wired.calls_left == 0
