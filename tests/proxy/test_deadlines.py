"""The times after which a session is ended: off unless wanted, and only then."""

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.deadlines import Deadlines
from lbcproxy.proxy.rejected_clients import LOG_INTERVAL, RejectedClients
from lbcproxy.wire.envelope import frame
from tests.proxy.transports import LINGER, NETWORK, Scene
from tests.session.frames import verack, version

PING = frame(NETWORK.magic, "ping", bytes(8))


def test_none_is_never():
    """A tap does not judge, and sets no timer."""
    clock, ends = Clock(), []
    deadlines = Deadlines(clock, handshake=None, idle=None, end=ends.append)
    deadlines.start(lambda: False)
    deadlines.alive()
    assert clock.getDelayedCalls() == []
    assert ends == []


def test_an_idle_session_is_ended_at_its_time():
    """A byte restarts the time, without setting a timer."""
    clock, ends = Clock(), []
    deadlines = Deadlines(clock, handshake=None, idle=10.0, end=ends.append)
    deadlines.start(lambda: True)
    for _ in range(5):
        clock.pump([1] * 6)
        deadlines.alive()
        assert len(clock.getDelayedCalls()) == 1
    clock.pump([1] * 9)
    assert ends == []
    clock.pump([1])
    assert ends == ["not a byte in 10 s"]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("ready", [True, False])
def test_a_handshake_has_its_time(ready):
    """Looked at once."""
    clock, ends = Clock(), []
    Deadlines(clock, handshake=30.0, idle=None, end=ends.append).start(lambda: ready)
    clock.advance(29.9)
    assert ends == []
    clock.advance(0.1)
    assert ends == ([] if ready else ["no handshake in 30 s"])


def test_what_has_stopped_ends_nothing():
    """And it leaves no timers."""
    clock, ends = Clock(), []
    deadlines = Deadlines(clock, handshake=1.0, idle=1.0, end=ends.append)
    deadlines.start(lambda: False)
    deadlines.stop()
    clock.advance(5)
    assert ends == []
    assert clock.getDelayedCalls() == []


def test_a_relay_without_a_handshake_is_ended():
    """Bytes that are no handshake do not keep it."""
    scene = Scene(handshake_timeout=30.0)
    scene.answer()
    for _ in range(4):
        scene.client.arrive(PING)
        scene.clock.advance(10)
        scene.settle()
    assert scene.observer.whys == ["no handshake in 30 s"]
    assert scene.clock.getDelayedCalls() == []


def test_a_relay_with_a_handshake_is_not():
    """Both have said `version` and `verack`."""
    scene = Scene(handshake_timeout=30.0)
    scene.answer()
    for side in (scene.client, scene.upstream):
        side.arrive(version(), verack())
    scene.clock.advance(100)
    scene.settle()
    assert scene.observer.whys == []
    scene.relay.stop()
    scene.settle()
    assert scene.clock.getDelayedCalls() == []


def test_a_relay_that_is_idle_is_ended():
    """In order, both legs; a byte of either node keeps it."""
    scene = Scene(idle_timeout=60.0)
    scene.answer()
    for side in (scene.client, scene.upstream) * 3:
        scene.clock.advance(50)
        side.arrive(PING)
    assert scene.observer.whys == []
    scene.clock.advance(60)
    scene.settle()
    assert scene.observer.whys == ["not a byte in 60 s"]
    assert scene.clock.getDelayedCalls() == []


def test_refusals_are_logged_once_a_minute(monkeypatch):
    """There may be thousands a second; none is forgotten."""
    clock, warnings = Clock(), []
    refusals = RejectedClients(clock)
    clock.advance(1)
    log = SimpleNamespace(warn=lambda text, **fields: warnings.append(fields))
    monkeypatch.setattr(RejectedClients, "log", log)
    for _ in range(1000):
        refusals.record(Endpoint("127.0.0.1", 1), "10.0.0.1", "full")
    assert [fields["more"] for fields in warnings] == [""]
    clock.advance(LOG_INTERVAL)
    refusals.record(Endpoint("127.0.0.1", 1), "10.0.0.1", "full")
    assert warnings[-1]["more"] == "; 999 more since the last such line"


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_a_half_closed_relay_has_its_time(who):
    """A client that was thrown out may not stay for ever by saying nothing."""
    scene = Scene()
    scene.answer()
    closing = scene.client if who == "client" else scene.upstream
    other = scene.upstream if who == "client" else scene.client
    closing.finish()
    scene.settle()
    for _ in range(3):
        scene.clock.advance(LINGER - 1)
        other.arrive(PING)
        scene.settle()
    assert scene.observer.whys == []
    scene.clock.advance(LINGER)
    scene.settle()
    assert scene.observer.whys == [f"{who} closed"]
    assert scene.clock.getDelayedCalls() == []


def test_a_node_that_sent_while_the_process_was_stopped_is_not_ended():
    """After the machine was asleep, what the nodes sent is read before any deadline is checked."""
    clock, ends, ready = Clock(), [], []
    deadlines = Deadlines(clock, handshake=3.0, idle=5.0, end=ends.append)
    deadlines.start(lambda: bool(ready))
    clock.callLater(5, deadlines.alive)
    clock.advance(60)
    assert ends == []
    ready.append(True)
    clock.pump([1] * 4)
    assert ends == []
    clock.pump([1])
    assert ends == ["not a byte in 5 s"]


def test_a_node_that_did_not_is_ended():
    """At once, where nothing lay there."""
    clock, ends = Clock(), []
    Deadlines(clock, handshake=3.0, idle=None, end=ends.append).start(lambda: False)
    clock.advance(60)
    assert ends == ["no handshake in 3 s"]
