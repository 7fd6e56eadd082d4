"""From what the connections of a capture deliver to the events of their sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lbcproxy.capture.events import Event
from lbcproxy.capture.reading.annotations import NO_ANNOTATIONS, Annotations
from lbcproxy.capture.reading.captured_connection import CapturedConnection
from lbcproxy.capture.reading.captured_session import CapturedSession
from lbcproxy.capture.reading.entry_annotator import EntryAnnotator
from lbcproxy.capture.reading.pairing import RewritePending
from lbcproxy.capture.reading.read_stats import ReadStats
from lbcproxy.session import Delivery
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["DeliveredEvents"]


class DeliveredEvents:
    """Makes events of deliveries, numbered, and with what the file says about them.

    Args:
        stats: Counts what was assumed.
        sessions: The open sessions by number, which the caller adds and removes.
    """

    def __init__(self, stats: ReadStats, sessions: Mapping[int, CapturedSession]) -> None:
        self._stats = stats
        self._sessions = sessions
        self._annotator = EntryAnnotator()

    def of(
        self,
        connection: CapturedConnection,
        deliveries: Iterable[Delivery],
        annotations: Annotations = NO_ANNOTATIONS,
    ) -> Iterator[Event | RewritePending]:
        """Return the events of what a connection delivers; the annotations are about all of it."""
        together: list[Delivery] = []
        session: CapturedSession | None = None
        for first in deliveries:
            passed = first.run or first.entries[0]
            if session is None:
                assert connection.number is not None
                assert connection.session is not None
                session = self._sessions[connection.number]
                if session.info is None or connection.transport is not None:
                    yield from session.begin(connection, passed.time_ns)
                if connection.network is None:
                    self._stats.assume(connection.session.network)
            comments = connection.take_comments(passed.direction)
            for delivery in self._annotator.annotated(first, annotations, comments):
                if (
                    connection.received is None
                    or delivery.entries[0].verdict != EntryVerdict.REWRITE
                ):
                    together.append(delivery)
                    continue
                yield from session.passed(together)
                together = []
                yield RewritePending((session.number, annotations.get("number")))
                yield from session.passed([delivery])
        if session is not None:
            yield from session.passed(together)
