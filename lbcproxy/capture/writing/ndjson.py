"""Writes ndjson: one line for each event."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lbcproxy.capture.entry_json import entry_object, json_line
from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.formats.ndjson import MAX_LINE
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.session import EndCause, Lost, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    DirectionClosed,
    SessionEnded,
    SessionEnding,
    SessionEvent,
    SessionReset,
    SessionStarted,
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.session.verdict import EntryVerdict
from lbcproxy.text import iso_time

__all__ = ["WRITER", "NdjsonWriter"]


class NdjsonWriter(Writer):
    """Writes a line for each event, of at most `MAX_LINE` bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write = write

    def header(self, header: SectionHeader) -> None:
        """Begin a section."""
        fields: dict[str, object] = {
            "event": "section",
            "network": header.network,
            "legs": header.legs,
            "changes": header.changes,
            "metadata": header.metadata,
            "comments": header.comments,
        }
        self._line(fields)

    def session_event(self, event: SessionEvent) -> None:
        """Write a line for each entry, or for another event."""
        match event:
            case Delivered():
                self._deliver(event)
            case SessionStarted(info=info, time_ns=time_ns):
                more: dict[str, object] = {}
                if not event.from_start:
                    more = {"begun": False, "protocol_version": event.protocol_version}
                self._event("started", info, time_ns, **_endpoints(info), **more)
            case UpstreamConnected(info=info, time_ns=time_ns):
                self._event("connected", info, time_ns, local=str(info.local))
            case TransportsAgreed(info=info, time_ns=time_ns):
                self._event("transports", info, time_ns, transports=info.transports.to_dict())
            case SessionEnding(info=info, time_ns=time_ns, end=end):
                self._event("ending", info, time_ns, end=end.to_dict())
            case DirectionClosed(info=info, time_ns=time_ns, direction=direction):
                self._event("finished", info, time_ns, direction=direction.value)
            case SessionReset(info=info, time_ns=time_ns, direction=direction):
                self._event("reset", info, time_ns, direction=direction.value)
            case SessionEnded(closed=False) if event.summary.end.cause is EndCause.SILENT:
                self._event("left", event.info, event.time_ns)

    def _deliver(self, event: Delivered) -> None:
        for delivery in event.deliveries:
            for entry in delivery.entries:
                fields = entry_object(entry, with_payload=True, info=event.info)
                if entry.verdict == EntryVerdict.REWRITE and delivery.sent is not None:
                    fields["sent"] = delivery.sent.hex()
                self._line(fields)

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Write how much is missing."""
        self._line({"event": "lost", "time": iso_time(time_ns), **msgspec.to_builtins(lost)})

    def _event(self, event: str, info: SessionInfo, time_ns: int, **more: object) -> None:
        if not info.network:
            self.count_unsupported(f"sessions of no known network: {event}")
            return
        self._line({"event": event, "time": iso_time(time_ns), "session": info.number, **more})

    def _line(self, fields: dict[str, object]) -> None:
        line = json_line(fields).encode() + b"\n"
        if len(line) > MAX_LINE:  # the payload has everything
            short = fields | {"message": None, "omitted": ["message", "partial", "claims"]}
            short.pop("partial", None)
            short.pop("claims", None)
            line = json_line(short).encode() + b"\n"
        self._write(line)


def _endpoints(info: SessionInfo) -> dict[str, str]:
    return {
        "network": info.network,
        "client": str(info.client),
        "listen": str(info.listen),
        "upstream": str(info.upstream),
    }


WRITER = FormatWriter("ndjson", to_file=NdjsonWriter)
