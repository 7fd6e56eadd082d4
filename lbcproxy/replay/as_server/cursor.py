"""The position of one client in a conversation, and what to send to it next. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from lbcproxy.replay.as_server.answers import Answers, Reply
from lbcproxy.replay.as_server.request_types import MAX_BLOCKS, REQUEST_TYPES, Key, inventory
from lbcproxy.replay.conversation import Turn
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.inventory import InvType
from lbcproxy.wire.registry import record_of

__all__ = ["ReplayCursor", "ReplayStats", "UnansweredRequest"]


class UnansweredRequest(msgspec.Struct, frozen=True):
    """A request, or a part of it, that the recording has no response to."""

    message: Message


OutgoingMessage: TypeAlias = "tuple[str, bytes]"
"""A command and the bytes of its frame."""


class ReplayStats(msgspec.Struct, frozen=True):
    """How a client's requests were answered; each object of a `getdata` counts as one."""

    answered: int
    unknown: dict[str, int]
    """By command, the number of requests that the recording has no response to."""
    unsent: int
    """Number of unsolicited messages of the recorded node that were not sent."""

    def __str__(self) -> str:
        parts = [f"{self.answered:,} request{'s' if self.answered != 1 else ''} answered"]
        if self.unknown:
            each = ", ".join(f"{printable(name)} {n:,}" for name, n in self.unknown.items())
            parts.append(f"{sum(self.unknown.values()):,} not in the recording ({each})")
        if self.unsent:
            messages = f"message{'s' if self.unsent != 1 else ''}"
            parts.append(f"{self.unsent:,} unsolicited {messages} not sent")
        return ", ".join(parts)


class ReplayCursor:
    """Answers the requests of one client.

    An unsolicited message of the recorded node is sent when the client has requested as much as
    the recorded client had before it. Each object of a `getdata` counts as one, a `ping` does not
    count. It is sent after the responses. For an idle client there is `continue_unsolicited`.

    Args:
        answers: What the recorded node answers.
        version: The negotiated protocol version.
        played: Counts the messages that were sent, by their position in the recording.
        addrv2: Whether the client accepts `addrv2`.
    """

    def __init__(
        self, answers: Answers, version: int, played: Counter[int], *, addrv2: bool = True
    ) -> None:
        self._answers = answers
        self._version = version
        self._played = played
        self._addrv2 = addrv2
        self._codec = Codec(answers.conversation.network, version)
        self._bare = Codec(answers.conversation.network, version, "base")
        self._times: Counter[Key] = Counter()
        self._asked = 0
        self._next = 0
        self._continue_at: bytes | None = None
        self._takes_compact = False
        self._answered = 0
        self._unknown: Counter[str] = Counter()

    @property
    def stats(self) -> ReplayStats:
        """How the requests were answered."""
        unsent = len(self._answers.unsolicited) - self._next
        return ReplayStats(self._answered, dict(self._unknown), unsent)

    def begin(self) -> Iterator[OutgoingMessage]:
        """Yield what precedes any request, after the handshake."""
        yield from self._due_unsolicited()

    @property
    def is_over(self) -> bool:
        """Whether all unsolicited messages were sent."""
        return self._next >= len(self._answers.unsolicited)

    def continue_unsolicited(self) -> Iterator[OutgoingMessage]:
        """Yield the next unsolicited messages, up to the next request of the recording."""
        if not self.is_over:
            self._asked = max(self._asked, self._answers.unsolicited[self._next].after)
        yield from self._due_unsolicited()

    def handle(self, message: Message) -> Iterator[OutgoingMessage | UnansweredRequest]:
        """Yield the responses to a message of the client.

        An `UnansweredRequest` is in the place of a response that the recording does not have.
        """
        self._takes_compact = self._takes_compact or message.command == "sendcmpct"
        request = REQUEST_TYPES.get(message.command)
        if request is None or message.command == "ping":
            return
        unknown: list[Key] = []
        missing: list[Key] = []
        for key in request.parts(message):
            self._asked += 1
            reply = self._answers.find(key, self._times[key])
            if self._answers.is_recorded(key):  # a client can make up any number of others
                self._times[key] += 1
            if reply is None:
                unknown.append(key)
                continue
            self._answered += 1
            if reply.missing:
                missing.append(key)
            yield from self._send(key, reply)
        if missing:
            yield self.not_found(request.only(message, missing))
        if unknown:
            self._unknown[message.command] += len(unknown)
            yield UnansweredRequest(request.only(message, unknown))
        yield from self._due_unsolicited()

    def not_found(self, request: Message) -> OutgoingMessage:
        """Return the `notfound` for the objects of a `getdata`."""
        return "notfound", frame(self._codec.network.magic, "notfound", request.payload)

    def found(self, request: Message, parts: int) -> None:
        """Record that parts of an unanswered request were answered elsewhere."""
        self._answered += parts
        self._unknown[request.command] -= parts
        self._unknown = +self._unknown

    def _send(self, key: Key, reply: Reply) -> Iterator[OutgoingMessage]:
        for turn in reply.turns:
            yield turn.command, self._raw(turn, strip=reply.strip)
        magic = self._codec.network.magic
        for command, payload in reply.made:
            yield command, frame(magic, command, payload)
        chain = self._answers.chain
        if key[0] == "getblocks" and reply.made:
            # A node with more blocks than it may list announces its tip after the last of them.
            blocks = chain.blocks_after(key[1], key[2], MAX_BLOCKS) or [b""]
            full = len(blocks) == MAX_BLOCKS and blocks[-1] not in (chain.tip, key[2])
            self._continue_at = blocks[-1] if full else None
        elif key[0] == "getdata" and key[-1] == self._continue_at and chain.tip is not None:
            self._continue_at = None
            yield "inv", frame(magic, "inv", inventory(InvType.BLOCK, [chain.tip]))

    def _due_unsolicited(self) -> Iterator[OutgoingMessage]:
        unsolicited = self._answers.unsolicited
        while not self.is_over and unsolicited[self._next].after <= self._asked:
            turn = unsolicited[self._next].turn
            self._next += 1
            if turn.command == "cmpctblock" and not self._takes_compact:
                yield self._announcement_of(turn)
            elif self._is_supported(turn.command):
                yield turn.command, self._raw(turn, strip=False)

    def _announcement_of(self, turn: Turn) -> OutgoingMessage:
        """Return the `inv` of a compact block, for a client that did not ask for compact blocks."""
        self._played[turn.position] += 1
        size = self._answers.chain.header_size
        head = self._answers.conversation.glance(turn).head[HEADER_SIZE : HEADER_SIZE + size]
        payload = inventory(InvType.BLOCK, [sha256d(head)])
        return "inv", frame(self._codec.network.magic, "inv", payload)

    def _is_supported(self, command: str) -> bool:
        """Return whether the client's protocol version has a command."""
        record = record_of(command)
        if command == "addrv2":
            return self._addrv2
        return record is None or record.since <= self._version

    def _raw(self, turn: Turn, *, strip: bool) -> bytes:
        self._played[turn.position] += 1
        if not strip:
            return self._answers.conversation.raw(turn)
        message = self._answers.conversation.message(turn)
        if message.command not in ("tx", "block") or message.record is None:
            return message.raw
        payload = self._bare.encode(message.record)
        if payload == message.raw[HEADER_SIZE:]:
            return message.raw
        return frame(self._codec.network.magic, message.command, payload)
