"""Traffic over time, counted in spans that get longer as the capture does, in bounded memory."""

from __future__ import annotations

__all__ = ["Timeline"]

MAX_SPANS = 400
MIN_WIDTH = 1_000_000
"""The width of a span at first, in nanoseconds."""


class Timeline:
    """Messages and bytes by name, in at most 400 spans of equal width."""

    def __init__(self) -> None:
        self.width = MIN_WIDTH
        """The width of a span, in nanoseconds."""
        self.spans: dict[str, dict[int, list[int]]] = {}
        """Messages and bytes by name and span number. Span n starts n widths after 1970."""
        self._first = self._last = 0

    @property
    def first(self) -> int:
        """The number of the earliest span."""
        return self._first

    @property
    def last(self) -> int:
        """The number of the latest span."""
        return self._last

    def add(self, name: str, time_ns: int, size: int) -> None:
        """Count a message; one without a time (0) is in no span."""
        if not time_ns:
            return
        span = time_ns // self.width
        if not self.spans:
            self._first = self._last = span
        self._first, self._last = min(self._first, span), max(self._last, span)
        while self._last - self._first >= MAX_SPANS:
            self._double()
        counted = self.spans.setdefault(name, {}).setdefault(time_ns // self.width, [0, 0])
        counted[0] += 1
        counted[1] += size

    def _double(self) -> None:
        """Double the width of all spans."""
        self.width *= 2
        self._first //= 2
        self._last //= 2
        for name, spans in self.spans.items():
            merged: dict[int, list[int]] = {}
            for number, (count, size) in spans.items():
                counted = merged.setdefault(number // 2, [0, 0])
                counted[0] += count
                counted[1] += size
            self.spans[name] = merged
