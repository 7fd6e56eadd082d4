"""Tests of RelayPeer: what it does to its transport, and which events its owner gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lbcproxy.peer import RelayPeer
from lbcproxy.session import Stage
from tests.proxy.transports import WATERMARK, FakeTransport


class RecordingOwner:
    """An owner that records the events of a peer."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def peer_connected(self, peer: RelayPeer) -> None:
        self.calls.append(("connected", peer.is_open))

    def peer_received(self, peer: RelayPeer, data: bytes) -> None:
        self.calls.append(("received", data))

    def peer_finished(self, peer: RelayPeer) -> None:
        self.calls.append(("finished",))

    def peer_closed(self, peer: RelayPeer, *, reset: bool) -> None:
        self.calls.append(("closed", reset, peer.is_open))

    def peer_full(self, peer: RelayPeer) -> None:
        self.calls.append(("full",))

    def peer_drained(self, peer: RelayPeer) -> None:
        self.calls.append(("drained",))


class Connected:
    """A peer with its listener and a transport in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.listener = RecordingOwner()
        self.peer = RelayPeer(self.listener)
        self.wire = FakeTransport(self.clock, self.peer)
        self.peer.makeConnection(self.wire)

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """The events after the connection was established."""
        return self.listener.calls[1:]

    def said(self, *names: str) -> list[str]:
        """Which of these calls the transport got, in order."""
        return [call for call in self.wire.calls if call in names]


def test_a_relay_peer_writes_nothing_by_itself():
    """Everything on the wire comes from its owner."""
    assert Connected().said("write") == []


def test_before_it_is_connected_a_peer_does_nothing():
    """A relay makes its upstream before it dials; whatever it calls must not fail."""
    peer = RelayPeer(RecordingOwner())
    peer.write(b"x")
    peer.finish()
    peer.close()
    peer.abort()
    peer.resume("a")
    assert not peer.is_open
    assert peer.address == peer.local_address == ("", 0)
    assert repr(peer) == "<RelayPeer :0>"


def test_a_connected_peer_knows_its_addresses():
    """They name the session in every line and packet."""
    connected = Connected()
    assert connected.listener.calls == [("connected", True)]
    assert connected.peer.address == ("10.0.0.1", 1)
    assert connected.peer.local_address == ("10.0.0.2", 1)
    assert repr(connected.peer) == "<RelayPeer 10.0.0.1:1>"


def test_a_peer_works_on_any_transport():
    """Twisted's own test transport has neither half-close nor TCP options."""
    listener = RecordingOwner()
    peer = RelayPeer(listener)
    wire = StringTransport()
    peer.makeConnection(wire)
    assert peer.address == ("192.168.1.1", 54321)
    peer.dataReceived(b"in")
    peer.write(b"out")
    assert wire.value() == b"out"
    assert listener.calls == [("connected", True), ("received", b"in")]
    peer.close()
    assert wire.disconnecting


def test_ends_may_follow_each_other_on_any_transport():
    """Twisted's test transport is strict about a producer that was unregistered already."""
    peer = RelayPeer(RecordingOwner())
    wire = StringTransport()
    peer.makeConnection(wire)
    peer.finish()
    peer.write(b"ignored")
    assert wire.value() == b""
    peer.close()
    peer.abort()
    assert wire.disconnecting


@given(st.lists(st.binary(min_size=1)))
def test_bytes_go_in_and_out_as_they_are(chunks: list[bytes]):
    """The peer reads nothing into what passes it."""
    connected = Connected()
    connected.wire.arrive(*chunks)
    for chunk in chunks:
        connected.peer.write(chunk)
    assert connected.calls == [("received", chunk) for chunk in chunks]
    assert connected.wire.waiting == b"".join(chunks)


# Pauses.


def test_each_reason_to_pause_has_to_be_taken_back():
    """One owner's resume must not undo another's pause."""
    connected = Connected()
    connected.peer.pause("one")
    connected.peer.pause("other")
    connected.peer.pause("one")
    assert connected.said("pause", "resume") == ["pause"]
    connected.peer.resume("one")
    assert not connected.wire.reading
    connected.peer.resume("other")
    assert connected.said("pause", "resume") == ["pause", "resume"]
    assert connected.wire.reading


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_a_peer_reads_while_there_is_no_reason_not_to(steps: list[tuple[bool, str]]):
    """The named reasons are a set: order and repetition do not matter."""
    connected, reasons = Connected(), set()
    for pause, reason in steps:
        if pause:
            connected.peer.pause(reason)
            reasons.add(reason)
        else:
            connected.peer.resume(reason)
            reasons.discard(reason)
        assert connected.wire.reading is not bool(reasons)


def test_nothing_is_read_while_paused():
    """What arrives waits in the kernel, which slows the node down."""
    connected = Connected()
    connected.peer.pause("full")
    connected.wire.arrive(b"data")
    assert connected.calls == []
    connected.peer.resume("full")
    connected.wire.deliver()
    assert connected.calls == [("received", b"data")]


def test_reading_does_not_go_on_after_the_node_s_end():
    """Twisted would report the same end once more."""
    connected = Connected()
    connected.wire.finish()
    connected.peer.pause("a")
    connected.peer.resume("a")
    assert connected.said("pause", "resume") == []
    assert connected.calls == [("finished",)]


def test_after_the_end_pauses_do_not_touch_the_transport():
    """Owners need not know whether the connection is still there."""
    connected = Connected()
    connected.wire.reset()
    connected.peer.pause("a")
    connected.peer.resume("a")
    assert connected.said("pause", "resume") == []


def test_too_much_waiting_is_reported_and_its_end_too():
    """More than 64 KiB is too much; room is when nothing waits any more."""
    connected = Connected()
    connected.peer.write(bytes(WATERMARK))
    assert not connected.peer.full
    connected.peer.write(b"x")
    assert connected.peer.full
    connected.wire.read(WATERMARK)
    assert connected.calls == [("full",)]
    connected.wire.read()
    assert connected.calls == [("full",), ("drained",)]
    assert not connected.peer.full


# Ends.


def test_a_half_close_by_the_node_is_reported_and_writing_goes_on():
    """The other direction is still alive."""
    connected = Connected()
    connected.wire.arrive(b"last")
    connected.wire.finish()
    assert connected.calls == [("received", b"last"), ("finished",)]
    assert connected.peer.is_open
    connected.peer.write(b"answer")
    connected.wire.read()
    assert connected.wire.got == b"answer"


def test_finish_sends_what_waits_and_goes_on_reading():
    """A half-close, even while too much waits, for which Twisted would wait for ever."""
    connected = Connected()
    connected.peer.write(bytes(WATERMARK + 1))
    connected.peer.finish()
    connected.peer.finish()
    connected.peer.write(b"ignored")
    connected.wire.read()
    assert connected.wire.fin_sent
    assert len(connected.wire.got) == WATERMARK + 1
    assert connected.said("finish") == ["finish"]
    connected.wire.arrive(b"still heard")
    assert connected.calls[-1] == ("received", b"still heard")


@pytest.mark.parametrize("waiting", [0, 10, WATERMARK + 1])
def test_close_sends_what_waits_first(waiting: int):
    """Even while too much waits."""
    connected = Connected()
    connected.peer.write(bytes(waiting))
    connected.peer.close()
    connected.peer.write(b"ignored")
    assert connected.peer.is_open
    connected.wire.read()
    assert len(connected.wire.got) == waiting
    assert connected.calls[-1] == ("closed", False, False)


def test_close_after_a_half_close_ends_at_once():
    """Nothing waits then, so there is nothing to wait for."""
    connected = Connected()
    connected.peer.finish()
    connected.wire.read()
    connected.peer.close()
    assert connected.calls == [("closed", False, False)]


def test_abort_drops_what_waits():
    """The transport reports the end in the next iteration of the reactor."""
    connected = Connected()
    connected.peer.write(bytes(10))
    connected.peer.abort()
    assert connected.calls == []
    connected.clock.advance(0)
    assert connected.wire.got == b""
    assert connected.calls == [("closed", True, False)]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_end_is_reported_once(how: str):
    """Owners forget the peer when they hear of it."""
    connected = Connected()
    for _ in range(3):
        getattr(connected.peer, how)()
    connected.wire.read()
    connected.clock.advance(0)
    for name in ("finish", "close", "abort"):
        getattr(connected.peer, name)()
    connected.peer.write(b"x")
    connected.clock.advance(0)
    assert [words[0] for words in connected.calls] == ["closed"]
    assert connected.wire.waiting == b""


def test_abort_cuts_a_close_that_waits():
    """So a node that does not read cannot keep a connection for ever."""
    connected = Connected()
    connected.peer.write(bytes(10))
    connected.peer.close()
    connected.peer.abort()
    connected.clock.advance(0)
    assert connected.calls == [("closed", True, False)]


def test_a_reset_is_distinguished_from_a_close():
    """What the other leg mirrors depends on it."""
    connected = Connected()
    connected.wire.reset()
    assert connected.calls == [("closed", True, False)]
    assert not connected.peer.is_open


def test_a_peer_counts_nothing_by_itself():
    """Its side is filled by the session, so that live sessions and captures count alike."""
    connected = Connected()
    connected.wire.arrive(b"data")
    statistics = connected.peer.statistics()
    assert statistics.stage is Stage.NEW
    assert statistics.bytes == 0
    connected.peer.side.bytes += 5
    assert connected.peer.statistics().bytes == 5
