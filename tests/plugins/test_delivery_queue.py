"""What waits in one direction: its order, its size, and what injections have to wait for."""

import pytest

from lbcproxy import networks
from lbcproxy.plugins.delivery_queue import DeliveryQueue, QueuedDelivery, not_sent
from lbcproxy.session import Delivery, Direction, Entry, Message
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.messages.keepalive import Ping

CODEC = Codec(networks.get("lbry-regtest"), 70013, "auto")
PART = Delivery(bytes(100))
"""A part of a long message: it completes no entry."""


def ping(nonce: int = 1) -> Delivery:
    """Return the delivery of a message, of 32 bytes."""
    message = Message.of(Ping(nonce), Direction.TO_UPSTREAM, CODEC)
    entry = Entry(number=1, time_ns=0, session=1, direction=Direction.TO_UPSTREAM, message=message)
    return Delivery(message.raw, (entry,))


def asked(nonce: int = 1) -> QueuedDelivery:
    """Return a message that plugins have to decide about."""
    delivery = ping(nonce)
    return QueuedDelivery([delivery], delivery.entries[0])


def injected(size: int = 10) -> QueuedDelivery:
    """Return what a plugin injects."""
    return QueuedDelivery([Delivery(b"", ping().entries, bytes(size))], injected=1)


def test_what_plugins_decide_about_waits_and_the_rest_is_ready():
    """A delivery counts as injected only if a plugin made it."""
    waiting, rest = asked(), QueuedDelivery([PART])
    assert (waiting.ready, waiting.close, waiting.size) == (False, None, 32)
    assert (rest.ready, rest.injected, rest.injected_bytes, rest.size) == (True, 0, 0, 100)
    assert (injected().ready, injected().injected, injected().injected_bytes) == (True, 1, 10)


def test_the_size_of_a_delivery_is_that_of_its_longer_form():
    """What was received and what is sent instead are both held."""
    assert QueuedDelivery([Delivery(bytes(7), (), bytes(9))]).size == 9
    assert QueuedDelivery([Delivery(bytes(9), (), b""), PART]).size == 109


def test_a_message_that_waits_holds_what_comes_after_it():
    """Everything is removed in the order of arrival, and the counts return to zero."""
    queue, first = DeliveryQueue(), asked()
    assert queue.is_empty
    assert not queue.deciding
    assert not queue.ended
    assert queue.pop_ready() == []
    rest, made = QueuedDelivery([PART]), injected()
    for each in (first, rest):
        queue.put(each)
    queue.inject(made)
    assert not queue.is_empty
    assert (len(queue), queue.buffered_bytes, queue.injected) == (2, 142, 1)
    assert queue.pop_ready() == []
    assert queue.next_undecided() is first
    assert queue.next_undecided() is None
    first.ready = True
    assert queue.pop_ready() == [first, rest]
    assert not queue.is_empty  # what was injected waits for the end of the long message
    assert (len(queue), queue.buffered_bytes, queue.injected) == (0, 10, 1)
    last = QueuedDelivery([ping()])
    queue.put(last)
    assert queue.pop_ready() == [last, made]
    assert queue.is_empty
    assert (queue.buffered_bytes, queue.injected) == (0, 0)


def test_an_injection_waits_only_for_a_message_that_is_being_forwarded():
    """Not before the first message, not after a whole one, and not once nothing more arrives."""
    queue = DeliveryQueue()
    queue.inject(made := injected())
    assert queue.pop_ready() == [made]
    queue.forwarded([PART])
    queue.forwarded([])  # nothing new is known
    queue.inject(made)
    assert queue.pop_ready() == []
    queue.ended = True
    queue.inject(other := injected())
    assert queue.pop_ready() == [other]
    queue = DeliveryQueue()
    queue.forwarded([PART, ping()])
    queue.inject(made)
    assert queue.pop_ready() == [made]
    queue.put(QueuedDelivery([ping()]))  # nobody asks for it, but it is whole
    queue.inject(other)
    assert len(queue.pop_ready()) == 2


def test_what_replaces_a_message_is_counted_in_its_place():
    """Bytes and injected messages, until it leaves the queue."""
    queue, message = DeliveryQueue(), asked()
    queue.put(message)
    more = [ping(), Delivery(b"", ping().entries, bytes(50))]
    queue.replace(message, more, injected=1, injected_bytes=50)
    assert message.deliveries == more
    assert (message.size, message.injected, message.injected_bytes) == (82, 1, 50)
    assert (queue.buffered_bytes, queue.injected) == (82, 1)
    message.ready = True
    assert queue.pop_ready() == [message]
    assert (queue.buffered_bytes, queue.injected) == (0, 0)


@pytest.mark.parametrize("cleared", [True, False])
def test_what_is_not_in_the_queue_is_not_counted(cleared):
    """A plugin may decide after the queue was cleared."""
    queue, message = DeliveryQueue(), asked()
    if cleared:
        queue.put(message)
        assert queue.clear() == [message]
    queue.replace(message, [PART], injected=1, injected_bytes=100)
    assert (queue.buffered_bytes, queue.injected) == (0, 0)
    assert message.size == 100


def test_clearing_removes_everything():
    """Also what waits for a decision, and what waits for the end of a long message."""
    queue = DeliveryQueue()
    queue.put(message := asked())
    queue.put(part := QueuedDelivery([PART]))
    queue.inject(made := injected())
    assert queue.clear() == [message, part, made]
    assert queue.is_empty
    assert queue.next_undecided() is None
    assert (queue.buffered_bytes, queue.injected) == (0, 0)


def test_what_was_not_sent_is_dropped():
    """It keeps its bytes and its trail, which says why."""
    before = ping()
    after = not_sent(Delivery(before.raw, before.entries, b"other", unread=True))
    assert (after.raw, after.sent, after.unread) == (before.raw, b"", True)
    [entry] = after.entries
    assert (entry.verdict, entry.trail) == ("drop", ("the session broke off",))
    assert entry.message is before.entries[0].message
