"""The incoming half of a peer: bytes in, messages and malformed bytes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from lbcproxy.peer.config import PeerConfig, Policy
from lbcproxy.peer.statistics import Counters
from lbcproxy.session import Direction, Message
from lbcproxy.wire import BadPayload, Codec, Frame, Framer, Junk, UnknownCommand
from lbcproxy.wire.envelope import checksum, unpack

__all__ = ["MessageReceiver"]

MAX_HANDSHAKE_FRAME = 65_536
"""Bytes of an unfinished frame in the handshake, at most: its messages are small."""


class MessageReceiver:
    """Frames bytes and counts the messages. It holds what the core has not taken yet."""

    def __init__(
        self,
        config: PeerConfig,
        counters: Counters,
        direction: Direction,
        wall: Callable[[], float],
    ) -> None:
        self._network = config.network
        self._strict = config.policy is Policy.STRICT
        self._counters = counters
        self._direction = direction
        self._wall = wall
        self._framer = Framer(config.network)
        self._codec = Codec(config.network, config.highest_version, "witness")
        self._items: deque[Frame | Junk] = deque()

    @property
    def pending(self) -> bool:
        """Whether `next` has something to return."""
        return bool(self._items)

    @property
    def buffered_bytes(self) -> int:
        """Bytes that arrived and have not been taken yet."""
        return self._framer.memory + sum(len(item.raw) for item in self._items)

    def agree(self, protocol_version: int, encoding: str) -> None:
        """Set how messages are decoded from now on.

        Args:
            protocol_version: The negotiated version.
            encoding: How transactions are encoded: "base", "witness" or "auto".
        """
        self._codec = Codec(self._network, protocol_version, encoding)

    def feed(self, data: bytes, *, handshaking: bool, forgiving: bool) -> None:
        """Take bytes as they arrived.

        Args:
            data: The bytes.
            handshaking: Whether the handshake is not complete, which bounds the frames.
            forgiving: Whether bytes that are not a message are skipped rather than reported.
        """
        self._counters.bytes_received += len(data)
        self._items.extend(self._framer.feed(data))  # type: ignore[arg-type]  # whole frames only
        error = self._framer.desync_reason
        too_much = self._framer.buffered > MAX_HANDSHAKE_FRAME
        if handshaking and too_much and not self._items:
            error = f"a frame of more than {MAX_HANDSHAKE_FRAME} bytes in the handshake"
        if error and not forgiving:
            self._items.append(Junk(self._framer.take_buffered(), error))

    def next(self) -> Message | Junk:
        """Return the next message, or the bytes that are none; call it only while `pending`."""
        item = self._items.popleft()
        if isinstance(item, Junk):
            return item
        self._counters.received(item.command, len(item.raw), self._wall())
        return Message(item.command, self._direction, item.raw, self._codec, error=item.error)

    def without_excess(self, message: Message) -> Message | None:
        """Return a too long message as a tolerant peer takes it: without what follows its fields.

        Bitcoin Core ignores that. None if it is not too long, if anything else is wrong with it,
        for a `version`, and for a strict peer.
        """
        if self._strict or message.command == "version":
            return None
        header, payload = unpack(message.raw), message.payload
        if header.checksum != checksum(payload):
            return None
        try:
            record = self._codec.decode_start(message.command, payload)
        except (BadPayload, UnknownCommand):
            return None
        if not record.trailing:
            return None
        record = msgspec.structs.replace(record, trailing=b"")
        return Message.of(record, message.direction, self._codec)

    def clear(self) -> None:
        """Discard everything."""
        self._items.clear()
        self._framer.take_buffered()  # taken out, so that its memory is free
