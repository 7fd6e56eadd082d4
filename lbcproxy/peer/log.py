"""What a peer logs: summaries at debug, dumps for `lbcproxy.peer.trace` (PEER.md T).

Nothing is formatted that no observer shows: what is handed over are functions that make text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from lbcproxy.peer.effects import Note, Read
from lbcproxy.peer.outbox import RawFrame
from lbcproxy.text import printable
from lbcproxy.wire.record import MessageRecord

__all__ = ["GATE", "Gate", "PeerLog"]

MOST_DUMPED = 4096


@implementer(ILogObserver)
class Gate:
    """Passes on what is of a level or above; what is not is never formatted.

    Texts are made printable: they quote peers, and whatever else observes Twisted's log, as that of
    twistd, writes them as they are.
    """

    def __init__(self) -> None:
        self.level = LogLevel.debug

    @property
    def level(self) -> Any:
        """The lowest level that passes."""
        return self._level

    @level.setter
    def level(self, level: Any) -> None:
        """Have another."""
        self._level = level
        self.messages = level <= LogLevel.debug
        """Whether messages pass: if not, nothing is made of them."""

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event."""
        if event.get("log_level", LogLevel.info) >= self._level:
            globalLogPublisher({key: _printable(key, each) for key, each in event.items()})


def _printable(key: str, value: Any) -> Any:
    if key.startswith("log_") or not isinstance(value, str | BaseException):
        return value
    return printable(str(value))


GATE: Any = Gate()
"""What all of lbcproxy logs goes through here: a program sets the level, others need not."""
# Not in the class, where Twisted would give them its name for a namespace.
LOG = Logger(namespace="lbcproxy.peer", observer=GATE)
TRACE = Logger(namespace="lbcproxy.peer.trace", observer=GATE)


class PeerLog:
    """The log of one peer."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def received(self, read: Read) -> None:
        """Log a message that came."""
        message = read.message
        if message is None or read.error is not None or not GATE.messages:
            return
        shown = _Shown(message.summary, lambda: message.record, lambda: message.payload)
        self._message("received {command}{summary()} from {peer}", message.command, shown)

    def sending(self, record: MessageRecord | RawFrame, raw: bytes) -> None:
        """Log a message that goes out."""
        if not GATE.messages:
            return
        shown = _Shown(record.summary, lambda: record, lambda: raw)
        self._message("sending {command}{summary()} to {peer}", record.command, shown)

    def note(self, note: Note) -> None:
        """Log what the core has to say."""
        logger = TRACE if note.level == "trace" else LOG
        write = {"warn": logger.warn, "error": logger.error}.get(note.level, logger.debug)
        write("{peer}: {words}", peer=self._peer, words=printable(note.words))

    def failure(self, name: str, failure: Failure) -> None:
        """Log a callback that raised."""
        LOG.failure("{peer}: {name} raised", failure, peer=self._peer, name=name)

    def _message(self, words: str, command: str, shown: _Shown) -> None:
        command = printable(command)
        LOG.debug(words, command=command, summary=shown.summary, peer=self._peer)
        TRACE.debug(
            "{command} {record()}\n{dump()}", command=command, record=shown.record, dump=shown.dump
        )
        shown.forget()


class _Shown:
    """What an entry about a message shows, made when an observer formats it.

    Observers that keep entries, as Twisted's does until logging begins, would keep the messages:
    so it forgets them behind the observers' turn, and has nothing to show from then on.
    """

    def __init__(self, *makers: Callable[[], Any]) -> None:
        self._makers = makers

    def forget(self) -> None:
        """Keep nothing alive."""
        self._makers = (str, str, bytes)

    def summary(self) -> str:
        """Give the summary in parentheses, if there is any."""
        words = self._makers[0]()
        return f" ({words})" if words else ""

    def record(self) -> Any:
        """Give the record."""
        return self._makers[1]()

    def dump(self) -> str:
        """Give the bytes in hexadecimal."""
        return hex_dump(self._makers[2]())


def hex_dump(data: bytes) -> str:
    """Write bytes as `hexdump -C` does, the first 4 KiB of them."""
    rows = []
    for offset in range(0, min(len(data), MOST_DUMPED), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"{offset:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{text}|")
    if len(data) > MOST_DUMPED:
        rows.append(f"... {len(data) - MOST_DUMPED} more bytes")
    return "\n".join(rows)
