"""What the shell of a peer does by itself: causes, wakeups, and the order of ends."""

import sys

import msgspec
import pytest
from twisted.internet import task

from lbcproxy.peer import Peer, Timeouts
from lbcproxy.peer.config import Transport
from lbcproxy.session import EndCause
from lbcproxy.transport.frames import AcceptingTransport
from lbcproxy.wire.messages.keepalive import Ping
from tests.peer.builders import CONFIG, connect

SLOW = msgspec.structs.replace(
    CONFIG,
    trickle_interval=1000.0,
    timeouts=Timeouts(stall_tick=1000.0, ping=1000.0, idle=2000.0),
)
"""A config whose peer has nothing to do for a long time."""


def test_the_cause_of_the_end_is_known_to_programs():
    """As well as the reason for people."""
    reset, closed, ours = (connect().shake_hands() for _ in range(3))
    reset.wire.reset()
    assert (reset.peer.core.cause, reset.peer.core.closed) == (EndCause.RESET, "connection lost")
    closed.peer.closed(reset=False)
    assert closed.peer.core.cause is EndCause.CLOSED
    assert closed.peer.core.closed == "closed by the node"
    ours.peer.disconnect()
    assert (ours.peer.core.cause, ours.peer.core.closed) == (EndCause.STOPPED, "disconnected by us")


def test_a_node_that_does_not_read_is_noticed_though_nothing_else_is_due():
    """The peer wakes up for it."""
    wired = connect(SLOW).shake_hands()
    wired.peer.pauseProducing()
    wired.clock.advance(19)
    assert not wired.closed
    wired.clock.advance(1)
    wired.clock.advance(0)
    assert wired.closed
    assert wired.peer.core.closed == "the node does not read what is sent to it"


def test_a_node_that_stays_silent_after_a_pause_is_noticed():
    """The time in which we did not read is not counted."""
    times = msgspec.structs.replace(SLOW.timeouts, idle=100.0)
    wired = connect(msgspec.structs.replace(SLOW, timeouts=times)).shake_hands()
    wired.peer.pause("user")
    wired.pass_time(200)
    assert not wired.closed
    wired.peer.resume("user")
    wired.pass_time(99)
    assert not wired.closed
    wired.pass_time(1)
    assert wired.closed


def test_a_queue_that_is_empty_takes_no_memory():
    """However long it was."""
    wired = connect(opened=False)
    for number in range(1000):
        wired.peer.queue_message(Ping(number))
    assert sys.getsizeof(wired.peer._tickets) > sys.getsizeof({})
    wired.open().shake_hands()
    assert sys.getsizeof(wired.peer._tickets) == sys.getsizeof({})


def test_a_peer_is_inbound_unless_said_otherwise():
    """A listening factory makes most of them."""
    assert str(Peer(CONFIG, clock=task.Clock(), address="10.0.0.1:5")) == "10.0.0.1:5 (inbound)"


@pytest.mark.parametrize(
    ("transport", "inbound", "carrier"),
    [
        (Transport.AUTO, True, AcceptingTransport),
        (Transport.AUTO, False, None),
        (Transport.V1, True, None),
        (Transport.V1, False, None),
        (Transport.V2, True, AcceptingTransport),
    ],
)
def test_what_carries_the_messages_follows_from_the_config(transport, inbound, carrier):
    """Outbound with V2 needs an extra: tests/transport has it."""
    config = msgspec.structs.replace(CONFIG, transport=transport)
    peer = connect(config, inbound=inbound, opened=False).peer
    assert type(peer._carrier) is (type(None) if carrier is None else carrier)
