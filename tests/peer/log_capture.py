"""What a peer logs, recorded by a test."""

from types import TracebackType
from typing import Any, Self

from twisted.logger import LogLevel, formatEvent, globalLogPublisher

__all__ = ["LogCapture"]


class LogCapture:
    """An observer that records lbcproxy's entries, as lines and as (level, namespace, line)."""

    def __init__(self, level: LogLevel = LogLevel.debug) -> None:
        self.entries: list[tuple[str, str, str]] = []
        self._level = level

    def __enter__(self) -> Self:
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: dict[str, Any]) -> None:
        namespace = event.get("log_namespace", "")
        if namespace.startswith("lbcproxy.peer") and event["log_level"] >= self._level:
            self.entries.append((event["log_level"].name, namespace, formatEvent(event)))

    @property
    def lines(self) -> list[str]:
        """The lines, without those of the trace."""
        return [line for _, namespace, line in self.entries if not namespace.endswith(".trace")]

    @property
    def traced(self) -> list[str]:
        """The lines of the trace."""
        return [line for _, namespace, line in self.entries if namespace.endswith(".trace")]

    def level(self, text: str) -> str:
        """Return the level of the entries with a text, without those of the trace."""
        [level] = {
            level
            for level, namespace, line in self.entries
            if text in line and not namespace.endswith(".trace")
        }
        return level
