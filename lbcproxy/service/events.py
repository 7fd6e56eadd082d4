"""What happens to sessions, logged as it happens and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from twisted.logger import Logger

from lbcproxy.peer.log import GATE
from lbcproxy.session import Delivery, Direction, Entry, Observer, SessionInfo, SessionSummary
from lbcproxy.session.command_counter import Names
from lbcproxy.text import printable

__all__ = ["Events"]


LOG = Logger(namespace="lbcproxy.session", observer=GATE)


class Events(Observer):
    """Log the beginning and end of each session; count sessions and messages."""

    def __init__(self) -> None:
        self.sessions = 0
        self.commands: Counter[str] = Counter()
        self._names = Names()
        self.errors = 0
        """Messages and other bytes with something wrong.

        Payloads are not read for it, but count if an observer before this one has read them.
        """

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Say who connected."""
        self.sessions += 1
        self._say(facts, "client connect")

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Say that the upstream is there."""
        self._say(facts, f"upstream connect {facts.upstream}")

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Count what passed."""
        for delivery in deliveries:
            if delivery.run is not None:
                self.commands.update(delivery.run.frames.commands)
                self.errors += sum(map(_is_wrong, delivery.run.made))
                continue
            for entry in delivery.entries:
                if entry.message is None:
                    self.errors += not entry.continued
                else:
                    self.commands[self._names.of(entry.command)] += 1
                    self.errors += _is_wrong(entry)

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Say how a session ended."""
        messages = summary.client.messages + summary.upstream.messages
        sizes = f"{summary.client.bytes:,} B up, {summary.upstream.bytes:,} B down"
        agreed = summary.protocol_version
        words = f"end: {printable(summary.end.describe())}; {messages:,} messages, {sizes}"
        if agreed is not None:
            words += f", version {agreed}"
        if not summary.is_ready:
            words += ", no handshake"
        junk = summary.client.junk_bytes + summary.upstream.junk_bytes
        if junk:
            words += f", {junk:,} B junk"
        self._say(summary.facts, words)

    def farewell(self) -> str:
        """Say how much it was in all."""
        words = f"stopped: {self.sessions} sessions, {self.commands.total():,} messages"
        return f"{words}, {self.errors} with errors" if self.errors else words

    def _say(self, facts: SessionInfo, text: str) -> None:
        LOG.info(
            "[#{session} {client}] {text}", session=facts.number, client=facts.client, text=text
        )


def _is_wrong(entry: Entry) -> bool:
    return entry.message is not None and entry.message.known_error is not None
