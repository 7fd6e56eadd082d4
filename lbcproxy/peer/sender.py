"""The outgoing half of a peer: encodes, holds what the node cannot take yet, counts what went."""

from __future__ import annotations

from collections.abc import Callable

from lbcproxy.peer.config import PeerConfig
from lbcproxy.peer.effects import Effect, Note, Resolve, Write
from lbcproxy.peer.keepalive import Keepalive
from lbcproxy.peer.outbox import Outbox, Queued, RawFrame
from lbcproxy.peer.stall import Stall
from lbcproxy.peer.statistics import Counters
from lbcproxy.peer.timers import Timers
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.record import MessageRecord

__all__ = ["Sender"]

A_LONG_WRITE = 256 * 1024
"""Bytes for which a node is given another second to read."""


class Sender:
    """Sends in order; before the handshake is done everything waits but the handshake itself."""

    def __init__(
        self,
        config: PeerConfig,
        counters: Counters,
        stall: Stall,
        timers: Timers,
        wall: Callable[[], float],
    ) -> None:
        self.protocol_version = config.highest_version
        """The version messages are encoded for."""
        self.ready = False
        """Whether the handshake is done."""
        self.outbox = Outbox()
        self.keepalive = Keepalive()
        self._config = config
        self._counters = counters
        self._stall = stall
        self._timers = timers
        self._wall = wall
        self._writable = True
        self._last = 0  # the size of the message that was sent last

    def filled(self, now: float) -> None:
        """Take note that the transport has more than it can send."""
        self._writable = False
        more = self._last // A_LONG_WRITE
        self._timers.set("write", now + self._config.timeouts.write + more)

    def drained(self) -> None:
        """Take note that the transport has sent all."""
        self._writable = True
        self._timers.cancel("write")

    def queue(self, record: MessageRecord, witness: bool, ticket: int | None) -> list[Effect]:
        """Have a message wait for its turn; `flush` sends it."""
        raw = b""
        if self.ready:
            try:
                raw = self.encode(record, witness)
            except BadRecord as error:
                return _unsendable(record, ticket, error)
        self.outbox.put(Queued(record, witness, ticket, raw))
        return []

    def queue_raw(self, command: str, raw: bytes) -> None:
        """Have a frame wait for its turn, to be sent as it is."""
        self.outbox.put(Queued(RawFrame(command), False, None, raw))

    def flush(self, now: float) -> list[Effect]:
        """Send the next message that waits, if it may go."""
        if not self._writable or not self.ready:
            return []
        queued = self.outbox.take()
        return [] if queued is None else self._send_queued(queued, now)

    def flush_all(self, now: float) -> list[Effect]:
        """Send all that waits, whatever the transport can take: the connection ends behind it."""
        effects: list[Effect] = []
        while self.ready and (queued := self.outbox.take()) is not None:
            effects += self._send_queued(queued, now)
        return effects

    def send(
        self, record: MessageRecord, now: float, *, witness: bool = False, ticket: int | None = None
    ) -> list[Effect]:
        """Send a message before all that waits."""
        try:
            raw = self.encode(record, witness)
        except BadRecord as error:
            return _unsendable(record, ticket, error)
        return self._wrote(record, raw, now, ticket)

    def send_raw(self, command: str, raw: bytes, now: float) -> list[Effect]:
        """Send a frame as it is, before all that waits."""
        return self._wrote(RawFrame(command), raw, now, None)

    def give_up(self) -> list[Effect]:
        """Tell everybody whose message still waits that it will not be sent."""
        return [
            effect for each in self.outbox.clear() for effect in resolved(each.ticket, sent=False)
        ]

    def _send_queued(self, queued: Queued, now: float) -> list[Effect]:
        if queued.raw or isinstance(queued.record, RawFrame):
            return self._wrote(queued.record, queued.raw, now, queued.ticket)
        return self.send(queued.record, now, witness=queued.witness, ticket=queued.ticket)

    def encode(self, record: MessageRecord, witness: bool = False) -> bytes:
        """Give the frame of a message; raises BadRecord."""
        network, encoding = self._config.network, "witness" if witness else "base"
        codec = Codec(network, self.protocol_version, encoding)
        payload = codec.encode(record)
        return frame(network.magic, record.command, payload)

    def _wrote(
        self, record: MessageRecord | RawFrame, raw: bytes, now: float, ticket: int | None
    ) -> list[Effect]:
        self._last = len(raw)
        self._counters.sent(record.command, self._last, self._wall())
        if self.ready:
            self._stall.sent(record.command, now)
        self.keepalive.sent(record, now, self._wall())
        return [Write(raw, record), *resolved(ticket, sent=True)]


def _unsendable(record: object, ticket: int | None, error: BadRecord) -> list[Effect]:
    note = Note("debug", f"cannot send {getattr(record, 'command', record)}: {error}")
    return [note, *resolved(ticket, sent=False, error=error)]


def resolved(ticket: int | None, *, sent: bool, error: Exception | None = None) -> list[Effect]:
    """Give the effect that tells whoever holds a ticket."""
    return [] if ticket is None else [Resolve(ticket, sent, error)]
