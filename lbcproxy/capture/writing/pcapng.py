"""pcapng, as lbcproxy records it: it holds everything that a capture can say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lbcproxy.capture.events import Header
from lbcproxy.capture.writing.flows import LAST_NS
from lbcproxy.capture.writing.notes import lost_block
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.session import Delivery, Direction, End, Lost, SessionInfo, SessionSummary

__all__ = ["WRITER", "PcapngWriter"]

_MAX_MISSED = 100


class PcapngWriter(Writer):
    """Has a `Recorder` write: one a section, since that is what a recorder begins with.

    The section is written at its first session, which tells the network if the file did not.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self.write = write
        self._header = Header()
        self._recorder: Recorder | None = None
        self._written = False
        self._missed: list[tuple[Lost, int]] = []
        self._said = 0  # of the section

    def header(self, header: Header) -> None:
        """Have the next session begin a section."""
        self._header, self._recorder = header, None

    def recorder(self, header: Header, network: str) -> Recorder:
        """Make what records a section."""
        return Recorder(
            self.write,
            network=header.network or network,
            legs=header.legs,
            changes=header.changes,
            metadata=header.metadata,
            comments=header.comments,
        )

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the client leg."""
        self._of(facts.network).started(facts, time_ns)

    def continued(self, facts: SessionInfo, protocol_version: int | None, time_ns: int) -> None:
        """Open it, of a session without its beginning."""
        self._of(facts.network).continued(facts, protocol_version, time_ns)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the upstream leg."""
        self._of(facts.network).upstream_connected(facts, time_ns)

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Write what passed."""
        self.lacking("times before 1970 or after 2554", not 0 <= time_ns <= LAST_NS)
        self._of(facts.network).passed(facts, direction, deliveries, time_ns)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Take note of why the session ends."""
        self._of(facts.network).ending(facts, end, time_ns)

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Write the end of a direction."""
        self._of(facts.network).finished(facts, direction, time_ns)

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Write that a session was broken off."""
        self._of(facts.network).reset(facts, direction, time_ns)

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Write the ends that are not written yet."""
        self._of(summary.facts.network).ended(summary, time_ns)

    def left(self, summary: SessionSummary, time_ns: int) -> None:
        """Leave a session open."""
        self._of(summary.facts.network).left(summary, time_ns)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Write how much is missing, where that is in the file."""
        if self._recorder is not None:
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
            self._of("")

    def _of(self, network: str) -> Recorder:
        if self._recorder is None:
            self._recorder = self.recorder(self._header, network)
            self._written = True
            missed, self._missed, self._said = self._missed, [], 0
            for lost, time_ns in missed:
                self._write_missed(lost, time_ns)
        return self._recorder


WRITER = FormatWriter("pcapng", to_file=PcapngWriter)
