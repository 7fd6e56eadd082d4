"""What a peer logs: summaries at debug, dumps for `lbcproxy.peer.trace` (PEER.md T).

Nothing is formatted that no observer shows: what is handed over are functions that make text.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.peer.effects import Note, Read
from lbcproxy.text import printable
from lbcproxy.wire.envelope import HEADER_SIZE
from lbcproxy.wire.record import MessageRecord

__all__ = ["PeerLog"]

MOST_DUMPED = 4096


class PeerLog:
    """The log of one peer."""

    log = Logger(namespace="lbcproxy.peer")
    trace = Logger(namespace="lbcproxy.peer.trace")

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def received(self, read: Read) -> None:
        """Log a message that came."""
        message = read.message
        if message is None or read.error is not None:
            return
        command = printable(message.command)
        self.log.debug(
            "received {command}{summary()} from {peer}",
            command=command,
            summary=lambda: _in_parentheses(message.summary()),
            peer=self._peer,
        )
        self._dump(command, lambda: message.record, lambda: message.payload)

    def sending(self, record: MessageRecord, raw: bytes) -> None:
        """Log a message that goes out."""
        self.log.debug(
            "sending {command}{summary()} to {peer}",
            command=record.command,
            summary=lambda: _in_parentheses(record.summary()),
            peer=self._peer,
        )
        self._dump(record.command, lambda: record, lambda: raw[:HEADER_SIZE] + raw[HEADER_SIZE:])

    def note(self, note: Note) -> None:
        """Log what the core has to say."""
        logger = self.trace if note.level == "trace" else self.log
        write = {"warn": logger.warn, "error": logger.error}.get(note.level, logger.debug)
        write("{peer}: {words}", peer=self._peer, words=printable(note.words))

    def failure(self, name: str, failure: Failure) -> None:
        """Log a callback that raised."""
        self.log.failure("{peer}: {name} raised", failure, peer=self._peer, name=name)

    def _dump(self, command: str, record: Any, data: Any) -> None:
        self.trace.debug(
            "{command} {record()}\n{dump()}",
            command=command,
            record=record,
            dump=lambda: hex_dump(data()),
        )


def _in_parentheses(summary: str) -> str:
    return f" ({summary})" if summary else ""


def hex_dump(data: bytes) -> str:
    """Write bytes as `hexdump -C` does, the first 4 KiB of them."""
    rows = []
    for offset in range(0, min(len(data), MOST_DUMPED), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"{offset:08x}  {row.hex(' '):<47}  |{text}|")
    if len(data) > MOST_DUMPED:
        rows.append(f"... {len(data) - MOST_DUMPED} more bytes")
    return "\n".join(rows)
