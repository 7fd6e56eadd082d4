"""An observer that logs what happens to sessions, and counts it."""

from __future__ import annotations

from collections import Counter

from twisted.logger import Logger

from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.session import Entry, SessionInfo, SessionSummary, Transports
from lbcproxy.session.command_counter import CommandNames
from lbcproxy.session.events import (
    Delivered,
    SessionEnded,
    SessionEvent,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.text import printable
from lbcproxy.transport.kind import Transport

__all__ = ["Events"]


LOG = Logger(namespace="lbcproxy.session", observer=LOG_FILTER)


class Events:
    """An observer that logs the beginning and the end of each session, and counts messages."""

    def __init__(self) -> None:
        self.sessions = 0
        self.commands: Counter[str] = Counter()
        self._names = CommandNames()
        self.errors = 0
        """Messages with an error, and runs of junk.

        Payloads are not decoded for this; they count if an earlier observer has decoded them.
        """

    def session_started(self, _info: SessionInfo) -> Events:
        """Return itself: there is nothing to keep for each session."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Count or log what happened."""
        match event:
            case Delivered():
                self._count(event)
            case SessionStarted():
                self.sessions += 1
                self._log(event.info, "client connect")
            case UpstreamConnected():
                self._log(event.info, f"upstream connect {event.info.upstream}")
            case TransportsAgreed():
                self._log(event.info, _transports(event.info.transports))
            case SessionEnded():
                self._log(event.info, _description(event.summary))

    def farewell(self) -> str:
        """Return the totals in words."""
        words = f"stopped: {self.sessions} sessions, {self.commands.total():,} messages"
        return f"{words}, {self.errors} with errors" if self.errors else words

    def _count(self, event: Delivered) -> None:
        for delivery in event.deliveries:
            if delivery.run is not None:
                self.commands.update(delivery.run.frames.commands)
                self.errors += sum(map(_is_wrong, delivery.run.made))
                continue
            for entry in delivery.entries:
                if entry.message is None:
                    self.errors += not entry.continued
                else:
                    self.commands[self._names.counted_as(entry.command)] += 1
                    self.errors += _is_wrong(entry)

    @staticmethod
    def _log(info: SessionInfo, text: str) -> None:
        LOG.info("[#{session} {client}] {text}", session=info.number, client=info.client, text=text)


def _transports(transports: Transports) -> str:
    """Return how the legs of a session carry messages, in words."""
    if transports.client.kind is Transport.OPAQUE:
        return "opaque: nothing is read"
    return f"encrypted: {transports}"


def _description(summary: SessionSummary) -> str:
    """Return how a session ended, in words."""
    messages = summary.client.messages + summary.upstream.messages
    sizes = f"{summary.client.bytes:,} B up, {summary.upstream.bytes:,} B down"
    words = f"end: {printable(summary.end.describe())}; {messages:,} messages, {sizes}"
    if summary.protocol_version is not None:
        words += f", version {summary.protocol_version}"
    if not summary.is_ready:
        words += ", no handshake"
    junk = summary.client.junk_bytes + summary.upstream.junk_bytes
    return f"{words}, {junk:,} B junk" if junk else words


def _is_wrong(entry: Entry) -> bool:
    return entry.message is not None and entry.message.known_error is not None
