"""The log of a peer: summaries of messages at debug, whole ones under `lbcproxy.peer.trace`.

Nothing is formatted that no observer shows: an entry about a message carries functions that make
the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from lbcproxy.deprecated import deprecated_names
from lbcproxy.peer.effects import Log, RawFrame, Read
from lbcproxy.text import printable
from lbcproxy.wire.record import MessageRecord

__all__ = ["LOG_FILTER", "LogFilter", "PeerLog"]

MAX_DUMPED = 4096


@implementer(ILogObserver)
class LogFilter:
    """An observer that passes on entries of a level or above. The others are never formatted.

    Texts are made printable: they quote peers, and other observers of Twisted's log, such as that
    of twistd, write them as they are.
    """

    def __init__(self) -> None:
        self.level = LogLevel.debug

    @property
    def level(self) -> Any:
        """The lowest level that passes, of `twisted.logger.LogLevel`."""
        return self._level

    @level.setter
    def level(self, level: Any) -> None:
        """Set the lowest level that passes."""
        self._level = level
        self.shows_messages = level <= LogLevel.debug
        """Whether entries about messages pass. If not, none are made."""

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on if its level is high enough."""
        if event.get("log_level", LogLevel.info) >= self._level:
            globalLogPublisher({key: _printable(key, each) for key, each in event.items()})


def _printable(key: str, value: object) -> object:
    if key.startswith("log_") or not isinstance(value, str | BaseException):
        return value
    return printable(str(value))


LOG_FILTER: Any = LogFilter()
"""Everything lbcproxy logs passes through this filter. A program may set its level."""
# Not in the class, where Twisted would give them its name for a namespace.
LOG = Logger(namespace="lbcproxy.peer", observer=LOG_FILTER)
TRACE = Logger(namespace="lbcproxy.peer.trace", observer=LOG_FILTER)
__getattr__ = deprecated_names(__name__, {"GATE": "LOG_FILTER", "Gate": "LogFilter"})


class PeerLog:
    """The log of one peer, whose text (`str`) stands in each entry."""

    def __init__(self, peer: object) -> None:
        self._peer = peer

    def received(self, read: Read) -> None:
        """Log a message that arrived."""
        message = read.message
        if message is None or read.error is not None or not LOG_FILTER.shows_messages:
            return
        formatter = _MessageFormatter(
            message.summary, lambda: message.record, lambda: message.payload
        )
        self._message("received {command}{summary()} from {peer}", message.command, formatter)

    def sending(self, record: MessageRecord | RawFrame, raw: bytes) -> None:
        """Log a message that is sent."""
        if not LOG_FILTER.shows_messages:
            return
        formatter = _MessageFormatter(record.summary, lambda: record, lambda: raw)
        self._message("sending {command}{summary()} to {peer}", record.command, formatter)

    def write(self, entry: Log) -> None:
        """Log an entry of the core."""
        logger = TRACE if entry.level == "trace" else LOG
        write = {"warn": logger.warn, "error": logger.error}.get(entry.level, logger.debug)
        write("{peer}: {words}", peer=self._peer, words=printable(entry.text))

    def failure(self, name: str, failure: Failure) -> None:
        """Log a callback that raised."""
        LOG.failure("{peer}: {name} raised", failure, peer=self._peer, name=name)

    def _message(self, template: str, command: str, formatter: _MessageFormatter) -> None:
        command = printable(command)
        LOG.debug(template, command=command, summary=formatter.summary, peer=self._peer)
        TRACE.debug(
            "{command} {record()}\n{dump()}",
            command=command,
            record=formatter.record,
            dump=formatter.dump,
        )
        formatter.forget()


class _MessageFormatter:
    """The texts of an entry about a message, made when an observer formats the entry.

    Some observers keep entries, as Twisted's does until logging begins, and would keep the messages
    alive. So the formatter forgets its message once all observers have been called.
    """

    def __init__(
        self,
        summary: Callable[[], str],
        record: Callable[[], object],
        payload: Callable[[], bytes],
    ) -> None:
        self._summary = summary
        self._record = record
        self._payload = payload

    def forget(self) -> None:
        """Keep no message alive. From now on there is nothing to show."""
        self._summary, self._record, self._payload = str, str, bytes

    def summary(self) -> str:
        """Return the summary in parentheses, if there is one."""
        summary = self._summary()
        return f" ({summary})" if summary else ""

    def record(self) -> object:
        """Return the record."""
        return self._record()

    def dump(self) -> str:
        """Return the bytes in hexadecimal."""
        return hex_dump(self._payload())


def hex_dump(data: bytes) -> str:
    """Return bytes as `hexdump -C` writes them, the first 4 KiB of them."""
    rows = []
    for offset in range(0, min(len(data), MAX_DUMPED), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(f"{offset:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{text}|")
    if len(data) > MAX_DUMPED:
        rows.append(f"... {len(data) - MAX_DUMPED} more bytes")
    return "\n".join(rows)
