"""The outcome for one message: what the verdicts of all plugins make of it together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from lbcproxy.plugins.injection_limit import MAX_MESSAGES
from lbcproxy.plugins.packet_verdicts import DamagePacket, InjectDecoys, NoEffect
from lbcproxy.plugins.verdicts import (
    Close,
    Delay,
    Drop,
    Inject,
    Raw,
    Replace,
    Sendable,
    Verdict,
)
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.entry import Delivery, Entry
from lbcproxy.session.leg_transport import Damaged, Decoy
from lbcproxy.session.message import Message
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.transport.damage import PacketDamage

__all__ = ["Outcome"]

Frame: TypeAlias = Callable[[Sendable, Direction], Message | Raw]
CheckLimit: TypeAlias = Callable[[Direction, int, int], None]


class Outcome:
    """One message and what plugins have decided about it so far.

    Args:
        message: The message as it arrived.
        frame: Frames what plugins send, for a direction.
        check_limit: Raises OverflowError if so many bytes and messages are too many to be injected
            into a direction.
    """

    def __init__(self, message: Message, frame: Frame, check_limit: CheckLimit) -> None:
        self.message = message
        self.messages: list[Message | Raw] = [message]
        """What is sent in its place; at first the message itself."""
        self.before: list[Message | Raw] = []
        self.after: list[Message | Raw] = []
        self.across: list[Message | Raw] = []
        """What is injected into the other direction."""
        self.decoys: list[Decoy] = []
        """Packets before it that say nothing."""
        self.damage: PacketDamage | None = None
        """What is wrong with the packet that it is sent in."""
        self.delay = 0.0
        self.close: End | None = None
        self.trail: list[str] = []
        self._frame = frame
        self._check_limit = check_limit

    def apply(self, name: str, verdicts: Sequence[Verdict], message: Message) -> None:
        """Apply a plugin's verdicts on one of the messages: all of them, or none.

        Args:
            name: The plugin's name.
            verdicts: What it returned.
            message: The message that it was called with.

        Raises:
            OverflowError: More is injected than the receiver reads.
            BadRecord: A message cannot be encoded.
            ValueError: Two verdicts exclude each other.
        """
        before = {
            name: list(value) if isinstance(value, list) else value
            for name, value in vars(self).items()
        }
        try:
            _check_count(verdicts)  # before anything is framed
            for verdict in verdicts:
                self._apply(name, verdict, message)
            self._check_injected()
        except BaseException:
            vars(self).update(before)
            raise

    def _apply(self, name: str, verdict: Verdict, message: Message) -> None:
        direction = self.message.direction
        if isinstance(verdict, Drop):
            self._replace(message, [])
            self._note(name, "drop", verdict)
        elif isinstance(verdict, Replace):
            new = [self._frame(each, direction) for each in verdict.messages]
            self._replace(message, new)
            self._note(name, f"rewrite {_sizes([message])} -> {_sizes(new)}", verdict)
        elif isinstance(verdict, Delay):
            self.delay += verdict.seconds
            self._note(name, f"delay {verdict.seconds:g} s", verdict)
        elif isinstance(verdict, Inject):
            into = verdict.direction or direction
            new = [self._frame(each, into) for each in verdict.messages]
            place = self.before if verdict.before else self.after
            (place if into is direction else self.across).extend(new)
            self._note(name, f"inject {_sizes(new)} {into.arrow}", verdict)
        elif isinstance(verdict, Close):
            self.close = End(EndCause.PLUGIN, detail=verdict.why, name=name)
            self._note(name, "close", verdict)
        elif isinstance(verdict, InjectDecoys):
            self.decoys += verdict.decoys
            sizes = ", ".join(f"{each.size:,} B" for each in verdict.decoys[:1])
            self._note(name, f"inject {len(verdict.decoys)} decoys of {sizes}", verdict)
        elif isinstance(verdict, DamagePacket):
            self.damage = verdict.damage
            self._note(name, f"rewrite {_sizes([message])}", verdict)
        elif isinstance(verdict, NoEffect):
            self._note(name, "no effect", verdict)

    @property
    def verdict(self) -> EntryVerdict:
        """What happened to the message."""
        if not self.messages:
            return EntryVerdict.DROP
        if self.messages != [self.message] or self.damage is not None:
            return EntryVerdict.REWRITE
        return EntryVerdict.DELAY if self.delay else EntryVerdict.PASS

    def deliveries(
        self,
        entry: Entry,
        inject: Callable[[Message | Raw, str], Delivery],
        packet: bytes | Decoy | Damaged | None = None,
    ) -> list[Delivery]:
        """Return what is sent: the message's own delivery, and those of what is injected around it.

        Args:
            entry: The entry of the message.
            inject: Makes a delivery of an injected message and the trail that led to it.
            packet: The packet that the message came in; see `Delivery`.
        """
        trail = tuple(self.trail)
        verdict = self.verdict
        changed = verdict in (EntryVerdict.REWRITE, EntryVerdict.DROP)
        sent = b"".join(each.raw for each in self.messages) if changed else None
        if self.damage is not None and self.messages:
            same = self.messages == [self.message]
            packet = Damaged(self.damage, packet if same and isinstance(packet, bytes) else None)
        decided = msgspec.structs.replace(entry, verdict=verdict, trail=trail)
        joined = "; ".join(trail)
        return [
            *(Delivery(b"", packet=each) for each in self.decoys),
            *(inject(each, joined) for each in self.before),
            Delivery(self.message.raw, (decided,), sent, packet=packet),
            *(inject(each, joined) for each in self.after),
        ]

    @property
    def injected(self) -> int:
        """How many messages plugins add in its own direction."""
        beside = len(self.decoys) + len(self.before) + len(self.after)
        return beside + max(0, len(self.messages) - 1)

    @property
    def injected_bytes(self) -> int:
        """Their bytes, and those by which the message itself has grown."""
        grown = _bytes(self.messages) - len(self.message.raw)
        decoys = sum(each.size for each in self.decoys)
        return decoys + _bytes(self.before) + _bytes(self.after) + max(0, grown)

    def _check_injected(self) -> None:
        direction = self.message.direction
        if self.injected or self.injected_bytes:
            self._check_limit(direction, self.injected_bytes, self.injected)
        if self.across:
            self._check_limit(direction.other, _bytes(self.across), len(self.across))

    def fail(self, name: str, why: str) -> None:
        """Drop the message: its plugin failed, and the policy is to drop messages then."""
        self.messages = []
        self.trail.append(f"{name}: drop: {why}")

    def _replace(self, message: Message, new: list[Message | Raw]) -> None:
        for index, each in enumerate(self.messages):
            if each is message:
                self.messages[index : index + 1] = new
                return
        raise ValueError("two verdicts that exclude each other")

    def _note(self, name: str, what: str, verdict: Verdict) -> None:
        self.trail.append(f"{name}: {what}" + (f": {verdict.why}" if verdict.why else ""))


def _bytes(messages: Sequence[Message | Raw]) -> int:
    return sum(len(each.raw) for each in messages)


def _sizes(messages: list[Message] | list[Message | Raw]) -> str:
    return ", ".join(
        f"{each.command} {each.length} B" if isinstance(each, Message) else f"{len(each.raw)} raw B"
        for each in messages
    )


def _check_count(verdicts: Sequence[Verdict]) -> None:
    """Raise OverflowError if verdicts inject more messages than could ever be queued."""
    count = sum(len(each.messages) for each in verdicts if isinstance(each, Inject | Replace))
    if max(count, len(verdicts)) > MAX_MESSAGES:
        raise OverflowError(f"more is injected than is read: {MAX_MESSAGES:,} messages wait")
