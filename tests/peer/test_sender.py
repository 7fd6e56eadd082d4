"""The outgoing half of a peer: what waits, what it counts, and what is sent first."""

from lbcproxy.peer.effects import Log, RawFrame, Resolve, Write
from lbcproxy.peer.liveness import Liveness
from lbcproxy.peer.sender import MessageSender, Outbox, Queued, resolve
from lbcproxy.peer.statistics import Counters
from lbcproxy.wire.messages.keepalive import Ping, Pong
from tests.peer.builders import CONFIG, NOW, encoded

PING = encoded(Ping(1))


class Tried(MessageSender):
    """A sender whose parts a test can see. It speaks version 70013."""

    def __init__(self, *, ready: bool = True) -> None:
        self.counters, self.liveness = Counters(), Liveness(CONFIG)
        super().__init__(CONFIG, self.counters, self.liveness, lambda: NOW)
        self.ready = ready

    def waiting(self) -> float | None:
        """Return when the node must have read."""
        return self.liveness.timers.next


def queued(size: int) -> Queued:
    """Return a message that waits."""
    return Queued(RawFrame("tx"), False, None, bytes(size))


def test_an_outbox_knows_its_bytes_and_its_memory():
    """What is not encoded yet counts 1,024 bytes, and each message 450 more."""
    outbox = Outbox()
    assert (len(outbox), outbox.size, outbox.memory, outbox.take()) == (0, 0, 0, None)
    first, second = queued(10), queued(0)
    outbox.put(first)
    outbox.put(second)
    assert (len(outbox), outbox.size, outbox.memory) == (2, 1034, 1934)
    assert outbox.take() is first
    assert (len(outbox), outbox.size, outbox.memory) == (1, 1024, 1474)
    assert outbox.clear() == [second]
    assert (len(outbox), outbox.size, outbox.take()) == (0, 0, None)


def test_before_the_handshake_is_complete_a_message_waits_unencoded():
    """It is encoded for the negotiated version when it is sent."""
    sender = Tried(ready=False)
    assert sender.protocol_version == CONFIG.highest_version
    assert sender.queue(Ping(1), False, 7) == []
    assert sender.outbox.size == 1024
    assert sender.flush(0) == []
    sender.ready = True
    assert sender.flush(0) == [Write(PING, Ping(1)), Resolve(7, True)]
    assert sender.flush(0) == []


def test_a_message_that_cannot_be_encoded_resolves_its_ticket_with_the_error():
    """At once if the version is known; nothing is queued."""
    sender = Tried()
    log, resolved = sender.queue(Ping(2**70), False, 7)
    assert isinstance(log, Log)
    assert log.level == "debug"
    assert log.text.startswith("cannot send ping: nonce")
    assert isinstance(resolved, Resolve)
    assert (resolved.ticket, resolved.sent) == (7, False)
    assert "nonce" in str(resolved.error)
    assert len(sender.outbox) == 0
    assert sender.send(Ping(2**70), 0, ticket=8)[1].ticket == 8  # type: ignore[union-attr]
    assert len(sender.send(Ping(2**70), 0)) == 1
    assert sender.counters.bytes_sent == 0


def test_a_full_transport_holds_what_is_queued_and_not_what_is_urgent():
    """Until it has been drained."""
    sender = Tried()
    sender.filled(0)
    sender.queue(Ping(1), False, None)
    sender.queue_raw("tx", b"raw")
    assert sender.flush(0) == []
    assert sender.send(Pong(1), 0) == [Write(encoded(Pong(1)), Pong(1))]
    assert sender.send_raw("inv", b"r", 0) == [Write(b"r", RawFrame("inv"))]
    sender.drained()
    assert sender.flush(0) == [Write(PING, Ping(1))]
    assert sender.flush(0) == [Write(b"raw", RawFrame("tx"))]
    sender.queue_raw("tx", b"")
    assert sender.flush(0) == [Write(b"", RawFrame("tx"))]
    assert sender.counters.sent_by_command() == {
        "pong": (1, 32),
        "inv": (1, 1),
        "ping": (1, 32),
        "tx": (2, 3),
    }
    assert sender.counters.last_sent == NOW


def test_the_last_message_comes_after_the_queue_even_if_the_transport_is_full():
    """Before the handshake the queue is not sent at all."""
    sender = Tried()
    sender.filled(0)
    sender.queue(Ping(1), False, 1)
    sender.queue(Ping(1), False, 2)
    effects = sender.send_last(Pong(1), 0)
    assert effects == [
        Write(PING, Ping(1)),
        Resolve(1, True),
        Write(PING, Ping(1)),
        Resolve(2, True),
        Write(encoded(Pong(1)), Pong(1)),
    ]
    early = Tried(ready=False)
    early.queue(Ping(1), False, None)
    assert early.send_last(Pong(1), 0) == [Write(encoded(Pong(1)), Pong(1))]


def test_a_node_has_20_seconds_to_read_and_one_more_for_each_256_kib():
    """Of the message that was sent last."""
    sender = Tried()
    sender.filled(100)
    assert sender.waiting() == 120
    for size, seconds in ((262_143, 20), (262_144, 21), (524_288, 22)):
        sender.send_raw("tx", bytes(size), 0)
        sender.filled(100)
        assert sender.waiting() == 100 + seconds
    sender.drained()
    assert sender.waiting() is None


def test_discarding_resolves_every_ticket():
    """Messages were not sent; those without a ticket are of no interest."""
    sender = Tried()
    for ticket in (1, None, 3):
        sender.queue(Ping(1), False, ticket)
    assert sender.discard() == [Resolve(1, False), Resolve(3, False)]
    assert sender.outbox.size == 0
    assert resolve(None, sent=True) == []
