"""Entries: messages with when they passed and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from lbcproxy.session.direction import Direction
from lbcproxy.session.message import Message
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.framer import Run

__all__ = ["UNKNOWN_SIZE", "Delivery", "Entry", "RunEntries"]

UNKNOWN_SIZE = -1
"""The size of a gap where nothing tells how many bytes are missing."""


class Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of a session, or bytes that are none, as captures and sinks get it."""

    number: int
    """Counted from 1 over all sessions of a run or a file."""
    time_ns: int
    """When the read that completed it arrived: nanoseconds since 1970, UTC."""
    session: int
    direction: Direction
    message: Message | None
    """The message; None for bytes that are none."""
    junk: bytes = b""
    """Those bytes."""
    why: str | None = None
    """Why they are no message."""
    continued: bool = False
    """Whether it goes on where junk of the entry before, in this direction, ended."""
    missing: int = 0
    """How many bytes a capture lacks here, or `UNKNOWN_SIZE`; such an entry holds nothing."""
    verdict: str = EntryVerdict.PASS
    """What happened to it."""
    trail: tuple[str, ...] = ()
    """Who decided what, in order."""
    comments: tuple[str, ...] = ()
    """What people, or other programs, wrote on its packets in a capture."""

    @property
    def command(self) -> str:
        """The message's command; empty for bytes that are no message."""
        return "" if self.message is None else self.message.command

    @property
    def payload(self) -> bytes:
        """The message's payload; empty for bytes that are no message."""
        return b"" if self.message is None else self.message.payload

    @property
    def raw(self) -> bytes:
        """The bytes as they stood on the wire."""
        return self.junk if self.message is None else self.message.raw

    @property
    def length(self) -> int:
        """Bytes of payload, or of what is no message."""
        return len(self.junk) if self.message is None else self.message.length

    @property
    def error(self) -> str | None:
        """What is wrong, and where; None if nothing is."""
        return self.why if self.message is None else self.message.error


class RunEntries(Sequence[Entry]):
    """The entries of messages that passed together, none with anything remarkable.

    They are made when somebody looks at them: most of what passes nobody does.
    """

    def __init__(
        self,
        run: Run,
        codec: Codec,
        direction: Direction,
        *,
        number: int,
        time_ns: int,
        session: int,
    ) -> None:
        self.frames = run
        self.codec = codec
        self.direction = direction
        self.time_ns = time_ns
        self._number = number
        self._session = session
        self._made: list[Entry] | None = None

    def unread(self) -> RunEntries:
        """Give the same with no entry made, for who keeps many."""
        return self.numbered(self._number)

    @property
    def made(self) -> Sequence[Entry]:
        """The entries, if somebody has looked at them."""
        return self._made or ()

    def __len__(self) -> int:
        return len(self.frames.ends)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        return self._entries()[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries())

    def numbered(self, number: int, session: int | None = None) -> RunEntries:
        """Give the same entries with other numbers, from this one on; of another session too."""
        return RunEntries(
            self.frames,
            self.codec,
            self.direction,
            number=number,
            time_ns=self.time_ns,
            session=self._session if session is None else session,
        )

    def _entries(self) -> list[Entry]:
        if self._made is None:
            self._made = [
                Entry(
                    number=number,
                    time_ns=self.time_ns,
                    session=self._session,
                    direction=self.direction,
                    message=Message(frame.command, self.direction, frame.raw, self.codec),
                )
                for number, frame in enumerate(self.frames.each(), self._number)
            ]
        return self._made


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """Bytes that passed, and the entries they complete: several where messages came together."""

    raw: bytes
    """As they came in; empty for what we put in ourselves."""
    entries: Sequence[Entry] = ()
    sent: bytes | None = None
    """What went out in their place, where it is not the same; empty for what was held back."""
    run: RunEntries | None = None
    """The entries once more, where they are a run: for who need not look at each."""
    unread: bool = False
    """Whether reading has failed, so that nothing is known of these bytes."""
