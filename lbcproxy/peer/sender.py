"""The outgoing half of a peer: it encodes, queues what must wait, and counts what was sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from lbcproxy.peer.config import PeerConfig
from lbcproxy.peer.effects import Effect, Log, RawFrame, Resolve, Write
from lbcproxy.peer.liveness import Liveness
from lbcproxy.peer.statistics import Counters
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.record import MessageRecord

__all__ = ["MessageSender", "Outbox", "Queued", "resolve"]

BYTES_A_SECOND = 256 * 1024
"""A node is given a second more to read for each of so many bytes of a message."""
UNENCODED = 1024
"""Bytes that a message counts while it is not encoded."""
OVERHEAD = 450
"""Measured with `tracemalloc`: a queued ping with its Deferred takes 454 bytes, 32 of them wire."""


class Queued(msgspec.Struct, frozen=True, gc=False):
    """A message that waits to be sent."""

    record: MessageRecord | RawFrame
    witness: bool
    """Whether transactions are encoded with their witness."""
    ticket: int | None
    """The number of the Deferred to fire; None if there is none."""
    raw: bytes
    """The frame; empty while the version to encode it for is not negotiated."""

    @property
    def size(self) -> int:
        """Its bytes in the queue."""
        return len(self.raw) or UNENCODED


class Outbox:
    """A first-in first-out queue that knows its size."""

    def __init__(self) -> None:
        self._queue: deque[Queued] = deque()
        self.size = 0
        """Bytes of the queued frames; what is not encoded yet counts `UNENCODED`."""

    @property
    def memory(self) -> int:
        """Bytes of memory the queue takes, about: a small message is mostly Python's objects."""
        return self.size + OVERHEAD * len(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, queued: Queued) -> None:
        """Append a message."""
        self._queue.append(queued)
        self.size += queued.size

    def take(self) -> Queued | None:
        """Remove and return the next message; None if there is none."""
        if not self._queue:
            return None
        queued = self._queue.popleft()
        self.size -= queued.size
        return queued

    def clear(self) -> list[Queued]:
        """Remove and return all messages."""
        dropped = list(self._queue)
        self._queue.clear()
        self.size = 0
        return dropped


class MessageSender:
    """Sends in order. Until the handshake is complete only its own messages are sent."""

    def __init__(
        self,
        config: PeerConfig,
        counters: Counters,
        liveness: Liveness,
        wall: Callable[[], float],
    ) -> None:
        self.protocol_version = config.highest_version
        """The version messages are encoded for."""
        self.ready = False
        """Whether the handshake is complete."""
        self.outbox = Outbox()
        self._config = config
        self._counters = counters
        self._liveness = liveness
        self._wall = wall
        self._writable = True
        self._last_size = 0  # of the message that was sent last

    def filled(self, now: float) -> None:
        """Record that the transport cannot send as much as it has."""
        self._writable = False
        extra = self._last_size // BYTES_A_SECOND
        self._liveness.timers.set("write", now + self._config.timeouts.write + extra)

    def drained(self) -> None:
        """Record that the transport has sent everything."""
        self._writable = True
        self._liveness.timers.cancel("write")

    def queue(self, record: MessageRecord, witness: bool, ticket: int | None) -> list[Effect]:
        """Queue a message. `flush` sends it."""
        raw = b""
        if self.ready:
            try:
                raw = self.encode(record, witness)
            except BadRecord as error:
                return _not_encodable(record, ticket, error)
        self.outbox.put(Queued(record, witness, ticket, raw))
        return []

    def queue_raw(self, command: str, raw: bytes) -> None:
        """Queue a frame that is sent as it is."""
        self.outbox.put(Queued(RawFrame(command), False, None, raw))

    def flush(self, now: float) -> list[Effect]:
        """Send the next queued message, if it may be sent now."""
        if not self._writable or not self.ready:
            return []
        queued = self.outbox.take()
        return [] if queued is None else self._send_queued(queued, now)

    def send(
        self, record: MessageRecord, now: float, *, witness: bool = False, ticket: int | None = None
    ) -> list[Effect]:
        """Send a message before everything that is queued."""
        try:
            raw = self.encode(record, witness)
        except BadRecord as error:
            return _not_encodable(record, ticket, error)
        return self._write(record, raw, now, ticket)

    def send_raw(self, command: str, raw: bytes, now: float) -> list[Effect]:
        """Send a frame as it is, before everything that is queued."""
        return self._write(RawFrame(command), raw, now, None)

    def send_last(self, record: MessageRecord, now: float) -> list[Effect]:
        """Send a message after everything that is queued, even if the transport is full.

        The connection ends then.
        """
        effects: list[Effect] = []
        while self.ready and (queued := self.outbox.take()) is not None:
            effects += self._send_queued(queued, now)
        return [*effects, *self.send(record, now)]

    def discard(self) -> list[Effect]:
        """Discard the queue. Whoever waits for a message learns that it was not sent."""
        return [
            effect for each in self.outbox.clear() for effect in resolve(each.ticket, sent=False)
        ]

    def _send_queued(self, queued: Queued, now: float) -> list[Effect]:
        if queued.raw or isinstance(queued.record, RawFrame):
            return self._write(queued.record, queued.raw, now, queued.ticket)
        return self.send(queued.record, now, witness=queued.witness, ticket=queued.ticket)

    def encode(self, record: MessageRecord, witness: bool = False) -> bytes:
        """Return the frame of a message.

        Raises:
            BadRecord: The message cannot be encoded for the negotiated version.
        """
        network, encoding = self._config.network, "witness" if witness else "base"
        codec = Codec(network, self.protocol_version, encoding)
        payload = codec.encode(record)
        return frame(network.magic, record.command, payload)

    def _write(
        self, record: MessageRecord | RawFrame, raw: bytes, now: float, ticket: int | None
    ) -> list[Effect]:
        self._last_size = len(raw)
        self._counters.sent(record.command, self._last_size, self._wall())
        self._liveness.sent(record, record.command, now, self._wall())
        return [Write(raw, record), *resolve(ticket, sent=True)]


def _not_encodable(record: object, ticket: int | None, error: BadRecord) -> list[Effect]:
    entry = Log("debug", f"cannot send {getattr(record, 'command', record)}: {error}")
    return [entry, *resolve(ticket, sent=False, error=error)]


def resolve(ticket: int | None, *, sent: bool, error: Exception | None = None) -> list[Effect]:
    """Return the effect that fires the Deferred of a ticket."""
    return [] if ticket is None else [Resolve(ticket, sent, error)]
