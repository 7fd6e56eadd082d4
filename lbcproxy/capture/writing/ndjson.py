"""What happened as lines of ndjson."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lbcproxy.capture.entry_json import entry_object, json_line
from lbcproxy.capture.events import Header
from lbcproxy.capture.formats.ndjson import MAX_LINE
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.session import Delivery, Direction, End, EndCause, Lost, SessionInfo, SessionSummary
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import iso_time

__all__ = ["WRITER", "NdjsonWriter"]


class NdjsonWriter(Writer):
    """Writes a line for each thing that happened, none longer than `MAX_LINE` bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write = write

    def header(self, header: Header) -> None:
        """Begin a section."""
        said = {
            "event": "section",
            "network": header.network,
            "legs": header.legs,
            "changes": header.changes,
            "metadata": header.metadata,
            "comments": header.comments,
        }
        self._line(said)

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Say between whom a session is."""
        self._event("started", facts, time_ns, **_between(facts))

    def continued(self, facts: SessionInfo, protocol_version: int | None, time_ns: int) -> None:
        """Say the same of one whose beginning is missing."""
        more = {"begun": False, "protocol_version": protocol_version}
        self._event("started", facts, time_ns, **_between(facts), **more)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Say our address on the upstream leg."""
        self._event("connected", facts, time_ns, local=str(facts.local))

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Write the entries."""
        for delivery in deliveries:
            for entry in delivery.entries:
                said = entry_object(entry, with_payload=True)
                if entry.verdict == EntryVerdict.REWRITE and delivery.sent is not None:
                    said["sent"] = delivery.sent.hex()
                self._line(said)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Say why a session ends."""
        self._event("ending", facts, time_ns, end=end.to_dict())

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Say that a direction was closed."""
        self._event("finished", facts, time_ns, direction=direction.value)

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Say that a session was broken off."""
        self._event("reset", facts, time_ns, direction=direction.value)

    def left(self, summary: SessionSummary, time_ns: int) -> None:
        """Say that no more is known, if that is before the end of the file."""
        if summary.end.cause is EndCause.SILENT:
            self._event("left", summary.facts, time_ns)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Say how much is missing."""
        self._line({"event": "lost", "time": iso_time(time_ns), **msgspec.to_builtins(lost)})

    def _event(self, event: str, facts: SessionInfo, time_ns: int, **more: Any) -> None:
        if not facts.network:
            self.lacking(f"sessions of no known network: {event}")
            return
        self._line({"event": event, "time": iso_time(time_ns), "session": facts.number, **more})

    def _line(self, said: dict[str, Any]) -> None:
        line = json_line(said).encode() + b"\n"
        if len(line) > MAX_LINE:  # the payload says it all
            short = said | {"message": None, "omitted": ["message", "partial", "claims"]}
            short.pop("partial", None)
            short.pop("claims", None)
            line = json_line(short).encode() + b"\n"
        self._write(line)


def _between(facts: SessionInfo) -> dict[str, str]:
    return {
        "network": facts.network,
        "client": str(facts.client),
        "listen": str(facts.listen),
        "upstream": str(facts.upstream),
    }


WRITER = FormatWriter("ndjson", to_file=NdjsonWriter)
