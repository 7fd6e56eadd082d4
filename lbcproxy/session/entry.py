"""Entries: messages, with when they passed and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from lbcproxy.session.direction import Direction
from lbcproxy.session.leg_transport import Damaged, Decoy, PacketForm
from lbcproxy.session.message import Message
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.framer import Run

__all__ = ["UNKNOWN_SIZE", "Delivery", "Entry", "RunEntries"]

UNKNOWN_SIZE = -1
"""The size of a gap if it is not known how many bytes are missing."""


class Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message of a session, or bytes that are not a message, as captures and lines have it."""

    number: int
    """Counted from 1, over all sessions of a run or a file."""
    time_ns: int
    """When the read that completed it arrived, in nanoseconds since 1970, UTC."""
    session: int
    direction: Direction
    message: Message | None
    """The message; None for bytes that are not a message."""
    junk: bytes = b""
    """Those bytes."""
    why: str | None = None
    """Why they are not a message."""
    continued: bool = False
    """Whether this is junk that continues the junk of the previous entry of its direction."""
    missing: int = 0
    """How many bytes a capture lacks here, or `UNKNOWN_SIZE`; such an entry has no bytes."""
    verdict: str = EntryVerdict.PASS
    """What happened to it: an `EntryVerdict`, or the word of a file."""
    trail: tuple[str, ...] = ()
    """Who decided what, in order."""
    comments: tuple[str, ...] = ()
    """Comments on its packets in a capture, by people or other programs."""
    form: PacketForm | None = None
    """How it came in an encrypted packet, if that is unusual."""

    @property
    def command(self) -> str:
        """The message's command; empty for bytes that are not a message."""
        return "" if self.message is None else self.message.command

    @property
    def payload(self) -> bytes:
        """The message's payload; empty for bytes that are not a message."""
        return b"" if self.message is None else self.message.payload

    @property
    def raw(self) -> bytes:
        """The bytes as they were on the wire."""
        return self.junk if self.message is None else self.message.raw

    @property
    def length(self) -> int:
        """Number of bytes of payload, or of junk."""
        return len(self.junk) if self.message is None else self.message.length

    @property
    def error(self) -> str | None:
        """What is wrong, and where; None if nothing is."""
        return self.why if self.message is None else self.message.error


class RunEntries(Sequence[Entry]):
    """The entries of valid messages that passed together, without verdicts or comments.

    They are made when they are used, because most are not.
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
        """Return a copy whose entries are not made yet, to save memory."""
        return self.numbered(self._number)

    @property
    def made(self) -> Sequence[Entry]:
        """The entries, if they have been used."""
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
        """Return the same entries numbered from `number` on, and of another session if given."""
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
    """Bytes that passed, and the entries that they complete."""

    raw: bytes
    """The bytes as they were received; empty for what we injected."""
    entries: Sequence[Entry] = ()
    sent: bytes | None = None
    """The bytes that were sent instead, if they differ; empty for what was dropped."""
    run: RunEntries | None = None
    """The entries again if they are a run, for code that does not need each of them."""
    unread: bool = False
    """Whether reading failed, so that nothing is known of these bytes."""
    packet: bytes | Decoy | Damaged | None = None
    """The contents of the encrypted packet that it came in, if `raw` does not determine them; or
    that the packet is a decoy, or is sent with some damage."""
