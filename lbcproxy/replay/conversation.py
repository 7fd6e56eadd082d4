"""One recorded session, ready to be played: who spoke, and all they said, in order.

Messages are kept in a temporary file, so that a session of any length takes little memory.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from lbcproxy import networks
from lbcproxy.capture import Capture, open_capture
from lbcproxy.errors import CaptureError, LbcproxyError
from lbcproxy.networks import Network
from lbcproxy.session import Direction, Entry, Message, SessionInfo
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Conversation", "NoConversation", "Turn", "load"]

IN_MEMORY = 8 << 20
"""Bytes of messages that are kept without a file."""
HEAD = 256
MOST_NAMED = 20


class NoConversation(LbcproxyError):
    """A capture has no session that can be played, or not the one that was asked for."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation; `Conversation.message` gives its content."""

    place: int
    """Counted from 0 over both directions."""
    number: int
    """Its number in the capture; 0 for what stands in none."""
    direction: Direction
    time_ns: int
    """When it had arrived, in the recording: nanoseconds since 1970."""
    command: str
    length: int
    """Bytes of payload."""
    error: str | None
    """What is wrong with its frame."""
    at: int
    """Where its bytes are kept, and how many there are."""
    size: int
    codec: Codec


class Conversation:
    """What the two nodes of one session sent, in the order in which it arrived.

    What was put in while it was recorded is left out; what was dropped had been sent, and is here.
    """

    def __init__(self, path: Path, number: int, network: Network, facts: SessionInfo) -> None:
        self.path = path
        self.number = number
        """The session's number in the capture."""
        self.network = network
        self.facts = facts
        """Between whom it was."""
        self.turns: list[Turn] = []
        self.versions: dict[Direction, Version] = {}
        """The first `version` of each side, by the direction it went in."""
        self.junk = 0
        """Bytes that were no message, and so are not played."""
        self.gaps = self.missing = 0
        """Bytes that the capture lacks."""
        self.damage: CaptureError | None = None
        """Why the capture could not be read to its end; what stands before it is here."""
        self.not_read: list[str] = []
        """What of the capture is not read, in words."""
        self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # kept open
        self._size = 0
        weakref.finalize(self, self._spool.close)

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
        """Whether both sides told their version."""
        return len(self.versions) == len(Direction)

    @property
    def client(self) -> Version:
        """What the client told of itself."""
        return self.versions[Direction.TO_UPSTREAM]

    @property
    def upstream(self) -> Version:
        """What the node behind the proxy told of itself."""
        return self.versions[Direction.TO_CLIENT]

    @property
    def notices(self) -> list[str]:
        """What of the session cannot be played, in words; nothing where all can."""
        found = list(self.not_read)
        if self.damage is not None:
            found.append(f"{self.path} is damaged, what stands before it is played: {self.damage}")
        if self.gaps:
            count = f"{self.missing:,}" if self.missing else "an unknown number of"
            found.append(f"{count} bytes of the session are not in the capture")
        if self.junk:
            found.append(f"{self.junk:,} bytes of the session are no message, and are not played")
        return found

    def raw(self, turn: Turn) -> bytes:
        """Return the bytes of a message, as they stood on the wire."""
        self._spool.seek(turn.at)
        return self._spool.read(turn.size)

    def glance(self, turn: Turn) -> Message:
        """Return a message of which only the beginning is read, if it is long."""
        if turn.size <= HEAD:
            return self.message(turn)
        self._spool.seek(turn.at)
        head = self._spool.read(HEAD)
        return Message(
            turn.command, turn.direction, head, turn.codec, error=turn.error, length=turn.length
        )

    def message(self, turn: Turn) -> Message:
        """Return a message; it is read anew each time."""
        return Message(turn.command, turn.direction, self.raw(turn), turn.codec, error=turn.error)

    def close(self) -> None:
        """Let go of what is kept."""
        self._spool.close()

    def add(self, entry: Entry) -> None:
        """Take the next entry of the session."""
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
        """Have a message follow on what is there."""
        self._spool.seek(self._size)
        self._spool.write(message.raw)
        turn = Turn(
            place=len(self.turns),
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
    """Read one session of a capture: that with a number, or the first that has a handshake.

    A handshake is a sound `version` of either side. A capture that is damaged gives what stands
    before the damage. Raises NoConversation, which names the sessions there are; OSError,
    CaptureError or UnknownNetwork for what cannot be read at all.
    """
    return _Loading(open_capture(path, network), session).load()


class _Loading:
    """One pass over a capture: sessions are kept while they may be the one that is wanted."""

    def __init__(self, capture: Capture, wanted: int | None) -> None:
        self._capture = capture
        self._wanted = wanted
        self._met: dict[int, set[Direction]] = {}  # which sides of which session told a version
        self._kept: dict[int, Conversation | None] = {}
        self._chosen: Conversation | None = None

    def load(self) -> Conversation:
        damage: CaptureError | None = None
        try:
            for entry in self._capture:
                if entry.verdict != EntryVerdict.INJECT:
                    self._take(entry)
        except CaptureError as error:
            damage = error
        chosen = self._chosen
        self._keep_only(chosen)
        if chosen is None:
            if damage is not None and not self._met:
                raise damage
            raise NoConversation(self._none() + (f"; {damage}" if damage is not None else ""))
        chosen.damage = damage
        chosen.not_read = self._capture.stats.notices
        return chosen

    def _take(self, entry: Entry) -> None:
        number, chosen = entry.session, self._chosen
        sides = self._met.setdefault(number, set())
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
        """Return the session of an entry if it may be played: each side begins with its version."""
        number = entry.session
        kept = self._kept.get(number)
        if number not in self._kept:
            facts = self._capture.stats.open_sessions.get(number)
            if facts is not None:
                network = networks.get(facts.network)
                kept = Conversation(self._capture.path, number, network, facts)
        if kept is not None and entry.message and entry.direction not in self._met[number]:
            kept.close()
            kept = None
        self._kept[number] = kept
        return kept

    def _keep_only(self, chosen: Conversation | None) -> None:
        for each in self._kept.values():
            if each is not None and each is not chosen:
                each.close()
        self._kept.clear()

    def _none(self) -> str:
        path, wanted = self._capture.path, self._wanted
        if not self._met:
            return f"{path} holds no session"
        able = [number for number, sides in self._met.items() if len(sides) == len(Direction)]
        if wanted is None:
            return f"{path}: none of its sessions has a handshake that could be played"
        what = "has no handshake" if wanted in self._met else "is not there"
        with_handshake = _listed(able) if able else "none"
        return f"{path}: session {wanted} {what}; with a handshake there are: {with_handshake}"


def _listed(numbers: list[int]) -> str:
    words = ", ".join(map(str, numbers[:MOST_NAMED]))
    return f"{words} and {len(numbers) - MOST_NAMED} more" if len(numbers) > MOST_NAMED else words
