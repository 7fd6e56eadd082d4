"""pcapng, as lbcproxy records it: it holds everything that a capture can say."""

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

_MAX_MISSED = 100


class PcapngWriter(Writer):
    """Has a `Recorder` write: one a section, since that is what a recorder begins with.

    The section is written at its first session, which tells the network if the file did not.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self.write = write
        self._header = SectionHeader()
        self._router: EventRouter | None = None
        self._written = False
        self._missed: list[tuple[Lost, int]] = []
        self._said = 0  # of the section

    def header(self, header: SectionHeader) -> None:
        """Have the next session begin a section."""
        self._header, self._router = header, None

    def recorder(self, header: SectionHeader, network: str) -> Recorder:
        """Make what records a section."""
        return Recorder(
            self.write,
            network=header.network or network,
            legs=header.legs,
            changes=header.changes,
            metadata=header.metadata,
            comments=header.comments,
        )

    def session_event(self, event: SessionEvent) -> None:
        """Record it."""
        if isinstance(event, Delivered):
            self.lacking("times before 1970 or after 2554", not 0 <= event.time_ns <= LAST_NS)
        if event.info is not None:
            self._section(event.info.network).handle(event)

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Write how much is missing, where that is in the file."""
        if self._router is not None:
            self._write_missed(lost, time_ns)
        elif len(self._missed) < _MAX_MISSED:
            self._missed.append((lost, time_ns))
        else:
            last, _ = self._missed[-1]
            self._missed[-1] = last + lost, time_ns

    def _write_missed(self, lost: Lost, time_ns: int) -> None:
        self.write(lost_block(lost, time_ns, self._said))
        self._said += lost.messages or lost.packets

    def close(self) -> None:
        """Begin the file, if nothing happened."""
        if not self._written or self._missed:
            self._section("")

    def _section(self, network: str) -> EventRouter:
        if self._router is None:
            self._router = EventRouter(self.recorder(self._header, network))
            self._written = True
            missed, self._missed, self._said = self._missed, [], 0
            for lost, time_ns in missed:
                self._write_missed(lost, time_ns)
        return self._router


WRITER = FormatWriter("pcapng", to_file=PcapngWriter)
