"""The incoming half of a peer: which bytes it takes, holds and refuses."""

import pytest

from lbcproxy.peer.receiver import MessageReceiver
from lbcproxy.peer.statistics import Counters
from lbcproxy.session import Direction, Message
from lbcproxy.wire import Junk
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping
from tests.peer.builders import CONFIG, MAINNET, NOW, encoded

PING = encoded(Ping(1))
DOWN = Direction.TO_CLIENT


class Tried(MessageReceiver):
    """A receiver whose counters a test can see."""

    def __init__(self) -> None:
        self.counters = Counters()
        super().__init__(CONFIG, self.counters, DOWN, lambda: NOW)

    def take(self, data: bytes, *, handshaking: bool = False, forgiving: bool = False) -> None:
        """Feed bytes."""
        self.feed(data, handshaking=handshaking, forgiving=forgiving)


def test_messages_are_counted_when_they_are_taken_and_bytes_when_they_arrive():
    """So an interrupted message counts as bytes alone."""
    receiver = Tried()
    assert not receiver.pending
    assert receiver.buffered_bytes == 0
    receiver.take(PING + PING[:20])
    assert receiver.pending
    held = receiver.buffered_bytes
    assert held >= len(PING) + 20
    assert (receiver.counters.bytes_received, receiver.counters.last_received) == (52, None)
    message = receiver.next()
    assert isinstance(message, Message)
    assert (message.record, message.direction, message.error) == (Ping(1), DOWN, None)
    assert receiver.buffered_bytes == held - len(PING)
    assert not receiver.pending
    assert receiver.counters.last_received == NOW
    assert receiver.counters.received_by_command() == {"ping": (1, 32)}
    receiver.take(PING[20:])
    assert receiver.counters.bytes_received == 64
    receiver.clear()
    assert not receiver.pending
    assert receiver.buffered_bytes == 0


def test_an_incomplete_message_is_discarded_too():
    """Its memory is free, and what follows is a new stream."""
    receiver = Tried()
    receiver.take(PING[:20])
    assert receiver.buffered_bytes >= 20
    receiver.clear()
    assert receiver.buffered_bytes == 0
    receiver.take(PING)
    assert isinstance(receiver.next(), Message)


def test_messages_are_decoded_for_the_agreed_version():
    """A ping has no nonce at 60000."""
    receiver = Tried()
    receiver.take(PING)
    receiver.take(frame(MAINNET.magic, "ping", b""))
    receiver.agree(60000, "auto")
    receiver.take(frame(MAINNET.magic, "ping", b""))
    first, second, third = (receiver.next() for _ in range(3))
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert isinstance(third, Message)
    # What is not yet taken is decoded by the new version as well.
    assert (second.record, third.record) == (Ping(None), Ping(None))
    assert third.codec.protocol_version == 60000


def test_bytes_that_are_no_message_are_reported_with_what_was_buffered():
    """They do not count as a message."""
    receiver = Tried()
    junk = b"GET / HTTP/1.1\r\n" * 4
    receiver.take(junk)
    item = receiver.next()
    assert isinstance(item, Junk)
    assert item.raw == junk
    assert item.why
    assert receiver.counters.received_by_command() == {}
    assert receiver.counters.last_received is None
    assert receiver.buffered_bytes == 0


def test_a_forgiven_node_may_send_junk():
    """It is skipped up to the next message."""
    receiver = Tried()
    receiver.take(b"GET / HTTP/1.1\r\n" * 4, forgiving=True)
    receiver.take(PING, forgiving=True)
    items = [receiver.next()]
    while receiver.pending:
        items.append(receiver.next())
    assert isinstance(items[-1], Message)
    assert [type(each) for each in items[:-1]] == [Junk] * (len(items) - 1)


def big(size: int) -> bytes:
    """Return the beginning of a frame of which so many bytes have arrived."""
    return frame(MAINNET.magic, "tx", bytes(100_000))[:size]


@pytest.mark.parametrize("before", [b"", PING])
@pytest.mark.parametrize(("size", "refused"), [(65_536, False), (65_537, True)])
def test_a_message_of_the_handshake_is_small(before: bytes, size: int, refused: bool):
    """More than 64 KiB of an unfinished frame are not held; later they are."""
    receiver = Tried()
    receiver.take(before + big(size), handshaking=True)
    if before:
        assert isinstance(receiver.next(), Message)
        refused = False  # until the messages before it have been dealt with
    assert receiver.pending is refused
    if refused:
        item = receiver.next()
        assert isinstance(item, Junk)
        assert item.raw == big(size)
        assert item.why == "a frame of more than 65536 bytes in the handshake"
    ready = Tried()
    ready.take(big(size))
    assert not ready.pending


def received(raw: bytes) -> Message:
    """Return what a receiver makes of a frame."""
    receiver = Tried()
    receiver.take(raw)
    message = receiver.next()
    assert isinstance(message, Message)
    return message


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("ping", bytes(8)),
        ("feefilter", bytes(8)),
        ("mempool", b""),
        ("sendheaders", b""),
        ("getaddr", b""),
        ("verack", b""),
        ("filterclear", b""),
        ("getcfcheckpt", bytes(33)),
        ("inv", encoded(Inv((InventoryVector(1, bytes(32)),) * 50_000))[24:]),
    ],
)
def test_what_follows_the_fields_can_be_left_out(command: str, fields: bytes):
    """As Bitcoin Core does, up to 4,000,000 bytes; the message itself keeps its error."""
    whole = frame(CONFIG.network.magic, command, fields)
    message = received(frame(CONFIG.network.magic, command, fields + bytes(10)))
    assert message.error is not None
    accepted = Tried().without_excess(message)
    assert accepted is not None
    assert (accepted.command, accepted.direction, accepted.raw) == (command, DOWN, whole)
    assert accepted.error is None
    longest = received(frame(CONFIG.network.magic, command, fields.ljust(4_000_000)))
    assert Tried().without_excess(longest) is not None
    longer = received(frame(CONFIG.network.magic, command, fields.ljust(4_000_001)))
    assert Tried().without_excess(longer) is None


@pytest.mark.parametrize(
    "raw",
    [
        PING,
        frame(CONFIG.network.magic, "ping", bytes(7)),
        frame(CONFIG.network.magic, "nobodyknows", bytes(9)),
        frame(CONFIG.network.magic, "inv", b"\xfd\x51\xc3" + bytes(36 * 50_001)),
        frame(CONFIG.network.magic, "ping", bytes(9))[:20] + b"abcd" + bytes(9),
    ],
    ids=["valid", "short", "unknown", "too many", "checksum"],
)
def test_without_excess_is_only_what_is_nothing_but_too_long(raw: bytes):
    """Anything else that is wrong with a message stays wrong."""
    assert Tried().without_excess(received(raw)) is None
