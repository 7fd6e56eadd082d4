"""Commands as they are counted: a node may make up millions."""

from __future__ import annotations

from lbcproxy.wire.registry import OPAQUE, record_of

__all__ = ["OTHERS", "Names"]

OTHERS = "(others)"
"""Under which unknown commands are counted, once there are many."""
MOST_UNKNOWN = 100


class Names:
    """Says under which name a command is counted."""

    def __init__(self) -> None:
        self._unknown: set[str] = set()

    def of(self, command: str) -> str:
        """Give the command, or `OTHERS` for one that is unknown where there are 100 already."""
        if record_of(command) is not None or command in OPAQUE or command in self._unknown:
            return command
        if len(self._unknown) >= MOST_UNKNOWN:
            return OTHERS
        self._unknown.add(command)
        return command
