"""The names under which messages are counted, though a node may invent millions of commands."""

from __future__ import annotations

from lbcproxy.wire.registry import OPAQUE, record_of

__all__ = ["OTHERS", "CommandNames"]

OTHERS = "(others)"
"""The name under which unknown commands are counted after the first hundred."""
MAX_UNKNOWN = 100


class CommandNames:
    """Names for counting: known commands, and the first hundred unknown ones."""

    def __init__(self) -> None:
        self._unknown: set[str] = set()

    def counted_as(self, command: str) -> str:
        """Return the command, or `OTHERS` for an unknown one after the first hundred."""
        if record_of(command) is not None or command in OPAQUE or command in self._unknown:
            return command
        if len(self._unknown) >= MAX_UNKNOWN:
            return OTHERS
        self._unknown.add(command)
        return command
