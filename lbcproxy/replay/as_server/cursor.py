"""Where one client is in a conversation, and what it is to be told next. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from lbcproxy.replay.as_server.answers import Answers, Reply
from lbcproxy.replay.as_server.questions import MOST_BLOCKS, QUESTIONS, Key, inventory
from lbcproxy.replay.conversation import Turn
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.envelope import HEADER_SIZE, frame
from lbcproxy.wire.hashes import sha256d
from lbcproxy.wire.messages.inventory import InvType
from lbcproxy.wire.registry import record_of

__all__ = ["Account", "Place", "Unknown"]


class Unknown(msgspec.Struct, frozen=True):
    """A question, or the part of it, that the recording has no answer to."""

    message: Message


Said: TypeAlias = "tuple[str, bytes]"
"""A command and its whole frame."""


class Account(msgspec.Struct, frozen=True):
    """What became of a client's questions; each thing of a `getdata` counts as one."""

    answered: int
    unknown: dict[str, int]
    """By command, those that the recording has no answer to."""
    unsent: int
    """Messages that the recorded node had sent unasked, whose place never came."""

    def __str__(self) -> str:
        words = f"{self.answered:,} question{'s' if self.answered != 1 else ''} answered"
        if self.unknown:
            each = ", ".join(f"{printable(name)} {n:,}" for name, n in self.unknown.items())
            words += f", {sum(self.unknown.values()):,} unknown ({each})"
        if self.unsent:
            words += f", {self.unsent:,} unrequested not reached"
        return words


class Place:
    """What one client asked so far, and what it is told.

    `version` is what was agreed with it. `played` counts, by the recording's place, the messages
    that were sent.

    What the recorded node said unasked is said when as much has been asked for as before it in the
    recording: each thing of a `getdata` counts as one, a `ping` as none. It follows behind the
    answers. A client that asks nothing more is led on with `go_on`.
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
        self._go_on_at: bytes | None = None
        self._takes_compact = False
        self._answered = 0
        self._unknown: Counter[str] = Counter()

    @property
    def account(self) -> Account:
        """What became of all that was asked."""
        unsent = len(self._answers.unasked) - self._next
        return Account(self._answered, dict(self._unknown), unsent)

    def begin(self) -> Iterator[Said]:
        """Return what comes before any question, when the handshake is done."""
        yield from self._due()

    @property
    def is_over(self) -> bool:
        """Whether all has been said that was said unasked."""
        return self._next >= len(self._answers.unasked)

    def go_on(self) -> Iterator[Said]:
        """Return what comes next, up to the next question of the recording."""
        if not self.is_over:
            self._asked = max(self._asked, self._answers.unasked[self._next].after)
        yield from self._due()

    def take(self, message: Message) -> Iterator[Said | Unknown]:
        """Take what the client says, and say what is said to it.

        An Unknown stands where something is asked that has no answer: whoever has one sends it.
        """
        self._takes_compact = self._takes_compact or message.command == "sendcmpct"
        question = QUESTIONS.get(message.command)
        if question is None or message.command == "ping":
            return
        unknown: list[Key] = []
        missing: list[Key] = []
        for key in question.parts(message):
            self._asked += 1
            reply = self._answers.find(key, self._times[key])
            if self._answers.is_recorded(key):  # of others a client can make up any number
                self._times[key] += 1
            if reply is None:
                unknown.append(key)
                continue
            self._answered += 1
            if reply.missing:
                missing.append(key)
            yield from self._say(key, reply)
        if missing:
            yield self.not_found(question.only(message, missing))
        if unknown:
            self._unknown[message.command] += len(unknown)
            yield Unknown(question.only(message, unknown))
        yield from self._due()

    def not_found(self, question: Message) -> Said:
        """Say that what a `getdata` asks for is not there."""
        return "notfound", frame(self._codec.network.magic, "notfound", question.payload)

    def found(self, question: Message, parts: int) -> None:
        """Take note that somebody else had the answer to parts of an Unknown."""
        self._answered += parts
        self._unknown[question.command] -= parts
        self._unknown = +self._unknown

    def _say(self, key: Key, reply: Reply) -> Iterator[Said]:
        for turn in reply.turns:
            yield turn.command, self._raw(turn, strip=reply.strip)
        magic = self._codec.network.magic
        for command, payload in reply.made:
            yield command, frame(magic, command, payload)
        chain = self._answers.chain
        if key[0] == "getblocks" and reply.made:
            # A node that has more than it may name tells its tip behind the last that it named.
            blocks = chain.behind(key[1], key[2], MOST_BLOCKS) or [b""]
            full = len(blocks) == MOST_BLOCKS and blocks[-1] not in (chain.tip, key[2])
            self._go_on_at = blocks[-1] if full else None
        elif key[0] == "getdata" and key[-1] == self._go_on_at and chain.tip is not None:
            self._go_on_at = None
            yield "inv", frame(magic, "inv", inventory(InvType.BLOCK, [chain.tip]))

    def _due(self) -> Iterator[Said]:
        unasked = self._answers.unasked
        while not self.is_over and unasked[self._next].after <= self._asked:
            turn = unasked[self._next].turn
            self._next += 1
            if turn.command == "cmpctblock" and not self._takes_compact:
                yield self._news_of(turn)
            elif self._fits(turn.command):
                yield turn.command, self._raw(turn, strip=False)

    def _news_of(self, turn: Turn) -> Said:
        """Name a compact block to a client that has not asked for such."""
        self._played[turn.place] += 1
        size = self._answers.chain.header_size
        head = self._answers.conversation.glance(turn).head[HEADER_SIZE : HEADER_SIZE + size]
        payload = inventory(InvType.BLOCK, [sha256d(head)])
        return "inv", frame(self._codec.network.magic, "inv", payload)

    def _fits(self, command: str) -> bool:
        """Whether the client may be told this, by what was agreed with it."""
        record = record_of(command)
        if command == "addrv2":
            return self._addrv2
        return record is None or record.since <= self._version

    def _raw(self, turn: Turn, *, strip: bool) -> bytes:
        self._played[turn.place] += 1
        if not strip:
            return self._answers.conversation.raw(turn)
        message = self._answers.conversation.message(turn)
        if message.command not in ("tx", "block") or message.record is None:
            return message.raw
        payload = self._bare.encode(message.record)
        if payload == message.raw[HEADER_SIZE:]:
            return message.raw
        return frame(self._codec.network.magic, message.command, payload)
