"""Writes pcapng, as lbcproxy records it: the format that holds everything."""

from __future__ import annotations

from collections.abc import Callable

from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.writing.flows import LAST_NS
from lbcproxy.capture.writing.notes import lost_block
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.session import Lost
from lbcproxy.session.events import Delivered, SessionEvent
from lbcproxy.session.observer import EventRouter

__all__ = ["WRITER", "PcapngWriter"]

_MAX_PENDING_LOSSES = 100


class PcapngWriter(Writer):
    """Writes each section with a `Recorder` of its own.

    A section is begun at its first session, which names the network if the file did not.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self.write = write
        self._header = SectionHeader()
        self._router: EventRouter | None = None
        self._written = False
        self._pending_losses: list[tuple[Lost, int]] = []
        self._reported = 0  # lost messages of the section so far

    def header(self, header: SectionHeader) -> None:
        """Begin a section with the next session."""
        self._header, self._router = header, None

    def recorder(self, header: SectionHeader, network: str) -> Recorder:
        """Return the recorder of a section."""
        return Recorder(
            self.write,
            network=header.network or network,
            legs=header.legs,
            changes=header.changes,
            metadata=header.metadata,
            comments=header.comments,
        )

    def session_event(self, event: SessionEvent) -> None:
        """Write what happened in a session."""
        if isinstance(event, Delivered):
            self.count_unsupported(
                "times before 1970 or after 2554", not 0 <= event.time_ns <= LAST_NS
            )
        if event.info is not None:
            self._section(event.info.network).handle(event)

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Write how much is missing at this point of the file."""
        if self._router is not None:
            self._write_lost(lost, time_ns)
        elif len(self._pending_losses) < _MAX_PENDING_LOSSES:
            self._pending_losses.append((lost, time_ns))
        else:
            last, _ = self._pending_losses[-1]
            self._pending_losses[-1] = last + lost, time_ns

    def _write_lost(self, lost: Lost, time_ns: int) -> None:
        self.write(lost_block(lost, time_ns, self._reported))
        self._reported += lost.messages or lost.packets

    def close(self) -> None:
        """Begin the file if nothing has happened."""
        if not self._written or self._pending_losses:
            self._section("")

    def _section(self, network: str) -> EventRouter:
        if self._router is None:
            self._router = EventRouter(self.recorder(self._header, network))
            self._written = True
            pending, self._pending_losses, self._reported = self._pending_losses, [], 0
            for lost, time_ns in pending:
                self._write_lost(lost, time_ns)
        return self._router


WRITER = FormatWriter("pcapng", to_file=PcapngWriter)
