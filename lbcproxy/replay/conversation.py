"""A recorded session, ready for replay: both nodes and all their messages, in order.

Messages are stored in a temporary file, so that a session of any length takes little memory.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec

from lbcproxy import networks
from lbcproxy.capture import Capture, open_capture
from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.errors import CaptureError, LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.session import Direction, Entry, Message, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Conversation", "DecodedRecord", "NoConversation", "Turn", "load"]

DecodedRecord: TypeAlias = Any
"""A record whose class depends on its command."""
IN_MEMORY = 8 << 20
"""Bytes of messages that are kept in memory; with more, all are in a file."""
HEAD = 256
MAX_NAMED = 20


class NoConversation(LbcproxyError):
    """A capture does not have a session that can be played, or not the requested one."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation; `Conversation.message` returns its content."""

    place = DeprecatedAttribute("position")

    position: int
    """Index among the messages of both directions, from 0."""
    number: int
    """Its number in the capture; 0 if it is not in a capture."""
    direction: Direction
    time_ns: int
    """When it arrived in the recording, in nanoseconds since 1970."""
    command: str
    length: int
    """Size of the payload in bytes."""
    error: str | None
    """What is wrong with its frame, or None."""
    at: int
    """Offset of its bytes in the temporary file; `size` is their number."""
    size: int
    codec: Codec


class Conversation:
    """What the two nodes of one session sent, in order of arrival.

    Messages that plugins injected are left out. Messages that plugins dropped are included,
    because a node sent them.
    """

    def __init__(self, path: Path, number: int, network: Network, info: SessionInfo) -> None:
        self.path = path
        self.number = number
        """The session's number in the capture."""
        self.network = network
        self.info = info
        """The addresses and the network of the session."""
        self.turns: list[Turn] = []
        self.versions: dict[Direction, Version] = {}
        """The first `version` message in each direction."""
        self.junk = 0
        """Bytes that are not part of a message, and are not played."""
        self.gaps = self.missing = 0
        """The number of gaps in the capture, and of bytes in those of known size."""
        self.damage: CaptureError | None = None
        """Why the capture could not be read to its end; what precedes the damage is included."""
        self.not_read: list[str] = []
        """Descriptions of what the reader left out of the capture."""
        self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # kept open
        self._size = 0
        weakref.finalize(self, self._spool.close)

    facts = DeprecatedAttribute("info")

    def __repr__(self) -> str:
        return f"<Conversation {self.path.name} #{self.number} {len(self.turns)} messages>"

    def __iter__(self) -> Iterator[tuple[Turn, Message]]:
        for turn in self.turns:
            yield turn, self.message(turn)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_playable(self) -> bool:
        """Whether both sides sent their version."""
        return len(self.versions) == len(Direction)

    @property
    def client(self) -> Version:
        """The client's `version`."""
        return self.versions[Direction.TO_UPSTREAM]

    @property
    def upstream(self) -> Version:
        """The upstream node's `version`."""
        return self.versions[Direction.TO_CLIENT]

    @property
    def notices(self) -> list[str]:
        """Descriptions of what cannot be played; empty if everything can."""
        found = list(self.not_read)
        if self.damage is not None:
            found.append(
                f"{self.path} is damaged, the part before the damage is played: {self.damage}"
            )
        if self.gaps:
            count = f"{self.missing:,}" if self.missing else "an unknown number of"
            found.append(f"{count} bytes of the session are not in the capture")
        if self.junk:
            found.append(f"{self.junk:,} bytes of the session are not messages, and are not played")
        return found

    def raw(self, turn: Turn) -> bytes:
        """Return the bytes of a message as they were on the wire."""
        self._spool.seek(turn.at)
        return self._spool.read(turn.size)

    def glance(self, turn: Turn) -> Message:
        """Return a message; only the beginning of a long one is read."""
        if turn.size <= HEAD:
            return self.message(turn)
        self._spool.seek(turn.at)
        head = self._spool.read(HEAD)
        return Message(
            turn.command, turn.direction, head, turn.codec, error=turn.error, length=turn.length
        )

    def message(self, turn: Turn) -> Message:
        """Return a message; it is read again each time."""
        return Message(turn.command, turn.direction, self.raw(turn), turn.codec, error=turn.error)

    def close(self) -> None:
        """Delete the temporary file."""
        self._spool.close()

    def add(self, entry: Entry) -> None:
        """Add the next entry of the session."""
        message = entry.message
        if message is None:
            self.junk += len(entry.junk)
            self.gaps += entry.missing != 0
            self.missing += max(entry.missing, 0)
            return
        if message.command == "version" and isinstance(message.record, Version):
            self.versions.setdefault(entry.direction, message.record)
        self.append(message, entry.time_ns, entry.number)

    def append(self, message: Message, time_ns: int, number: int = 0) -> Turn:
        """Append a message, and return its turn."""
        self._spool.seek(self._size)
        self._spool.write(message.raw)
        turn = Turn(
            position=len(self.turns),
            number=number,
            direction=message.direction,
            time_ns=time_ns,
            command=message.command,
            length=message.length,
            error=message.frame_error,
            at=self._size,
            size=len(message.raw),
            codec=message.codec,
        )
        self.turns.append(turn)
        self._size += len(message.raw)
        return turn


def load(
    path: Path | str, *, session: int | None = None, network: Network | None = None
) -> Conversation:
    """Return one session of a capture: the one with a number, or the first with a handshake.

    A handshake is a valid `version` of each side. Of a damaged capture, the part before the damage
    is used.

    Args:
        path: The capture.
        session: The number of the session; None for the first one with a handshake.
        network: The network, if the capture does not say it.

    Raises:
        NoConversation: If there is no such session; the text lists those that there are.
        OSError, CaptureError, UnknownNetwork: If the capture cannot be read at all.
    """
    return _Loading(open_capture(path, network), session).load()


class _Loading:
    """One pass over a capture; sessions are kept while they may be the requested one."""

    def __init__(self, capture: Capture, wanted: int | None) -> None:
        self._capture = capture
        self._wanted = wanted
        self._sessions: dict[int, set[Direction]] = {}  # by session, the sides that sent a version
        self._candidates: dict[int, Conversation | None] = {}
        self._chosen: Conversation | None = None

    def load(self) -> Conversation:
        damage: CaptureError | None = None
        try:
            for entry in self._capture:
                if entry.verdict != EntryVerdict.INJECT:
                    self._add(entry)
        except CaptureError as error:
            damage = error
        chosen = self._chosen
        self._keep_only(chosen)
        if chosen is None:
            if damage is not None and not self._sessions:
                raise damage
            raise NoConversation(
                self._no_conversation_reason() + (f"; {damage}" if damage is not None else "")
            )
        chosen.damage = damage
        chosen.not_read = self._capture.stats.notices
        return chosen

    def _add(self, entry: Entry) -> None:
        number, chosen = entry.session, self._chosen
        sides = self._sessions.setdefault(number, set())
        if entry.command == "version" and entry.message is not None and entry.message.record:
            sides.add(entry.direction)
        if chosen is not None:
            if number == chosen.number:
                chosen.add(entry)
        elif self._wanted in (None, number) and (kept := self._candidate(entry)) is not None:
            kept.add(entry)
            if kept.is_playable:
                self._chosen = kept
                self._keep_only(kept)

    def _candidate(self, entry: Entry) -> Conversation | None:
        """Return the session of an entry if it can be played: each side begins with its version."""
        number = entry.session
        kept = self._candidates.get(number)
        if number not in self._candidates:
            info = self._capture.stats.open_sessions.get(number)
            if info is not None:
                network = networks.get(info.network)
                kept = Conversation(self._capture.path, number, network, info)
        if kept is not None and entry.message and entry.direction not in self._sessions[number]:
            kept.close()
            kept = None
        self._candidates[number] = kept
        return kept

    def _keep_only(self, chosen: Conversation | None) -> None:
        for each in self._candidates.values():
            if each is not None and each is not chosen:
                each.close()
        self._candidates.clear()

    def _no_conversation_reason(self) -> str:
        path, wanted = self._capture.path, self._wanted
        if not self._sessions:
            return f"{path} has no session"
        able = [number for number, sides in self._sessions.items() if len(sides) == len(Direction)]
        if wanted is None:
            return f"{path}: none of its sessions has a handshake that could be played"
        what = "has no handshake" if wanted in self._sessions else "is not there"
        with_handshake = _listed(able) if able else "none"
        return f"{path}: session {wanted} {what}; with a handshake there are: {with_handshake}"


def _listed(numbers: list[int]) -> str:
    words = ", ".join(map(str, numbers[:MAX_NAMED]))
    return f"{words} and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else words
