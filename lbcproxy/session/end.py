"""Why a session ended, as a value: the cause and the node for programs, the text for people."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from lbcproxy.deprecated import renamed_parameters
from lbcproxy.session.direction import Direction

__all__ = ["OPEN", "SILENT", "STOPPED", "STOPPED_AT_ONCE", "End", "EndCause"]

_MAX_TEXT = 2_000
"""Characters that are kept of a name or a detail in a file."""


class EndCause(StrEnum):
    """Why a session ended. The first thing that ends a session is its cause."""

    CLOSED = "closed"
    """A node closed its connection in order."""
    RESET = "reset"
    """A node reset its connection, or the connection to it was lost."""
    UNREACHABLE = "unreachable"
    """The upstream could not be connected to."""
    PROTOCOL = "protocol"
    """A node violated the protocol, and we ended the session.

    In mode `terminate` that may be any message; in other modes only the encrypted transport.
    """
    PLUGIN = "plugin"
    """A plugin ended it."""
    FAULT = "fault"
    """A fault ended it."""
    TIMEOUT = "timeout"
    """Something did not happen in time, and we ended the session."""
    LIMIT = "limit"
    """It used more memory than it may, and we ended it."""
    LOOP = "loop"
    """The proxy was its own upstream."""
    FAILURE = "failure"
    """A defect of ours ended it."""
    NOT_EXPRESSIBLE = "not expressible"
    """A node sent something that the transport of the other leg cannot carry."""
    STOPPED = "stopped"
    """The proxy or the program was stopped."""
    PLAYED = "played"
    """The replay of a recording was complete."""
    OPEN = "open"
    """It has not ended: the capture ends first."""
    SILENT = "silent"
    """It has not ended: it was silent for so long that the reader of the capture gave it up."""


_BY_NODES = frozenset({EndCause.CLOSED, EndCause.RESET})
_TEXTS = {
    EndCause.STOPPED: "proxy stopped",
    EndCause.PLAYED: "played to the end",
    EndCause.OPEN: "open at the end",
    EndCause.SILENT: "silent",
    EndCause.LOOP: "the upstream is this proxy itself",
}


class End(msgspec.Struct, frozen=True):
    """Why a session ended, and who ended it."""

    cause: EndCause
    by: Direction | None = None
    """The node that ended it, as the direction in which that node sends; None if we did.

    It is the upstream if that could not be reached.
    """
    detail: str = ""
    """More about it, for display only: nothing may depend on it."""
    name: str = ""
    """The plugin or fault that ended it."""

    @property
    def who(self) -> str:
        """Who ended it: `client`, `upstream`, or `proxy` for us; empty if nobody did."""
        if self.by is not None:
            return "client" if self.by is Direction.TO_UPSTREAM else "upstream"
        return "" if self.cause in (EndCause.OPEN, EndCause.SILENT) else "proxy"

    @property
    def text(self) -> str:
        """The end in words, as plugins get it in `on_end`; a plugin's own words as they are."""
        return self._words(self.who)

    def describe(self, upstream: str = "upstream") -> str:
        """Return the end in words that say who ended it; `upstream` is the name of that node."""
        words = self._words(upstream if self.by is Direction.TO_CLIENT else self.who)
        named = self.cause is EndCause.PLUGIN and self.name and self.detail
        return f"plugin {self.name}: {words}" if named else words

    def _words(self, who: str) -> str:
        if self.cause in _BY_NODES:
            return f"{who}: {self.detail}" if self.detail else f"{who} {self.cause}"
        if self.cause is EndCause.UNREACHABLE:
            return f"{who} unreachable" + (f": {self.detail}" if self.detail else "")
        if self.cause is EndCause.FAULT:
            return f"fault {self.name}" if self.name else "a fault"
        if self.cause is EndCause.PLUGIN:
            return self.detail or f"closed by {self.name or 'a plugin'}"
        return self.detail or _TEXTS.get(self.cause, self.cause.value)

    def to_dict(self) -> dict[str, str]:
        """Return it as an object for JSON, without values that are empty."""
        values = self.cause.value, self.who, self.name[:_MAX_TEXT], self.detail[:_MAX_TEXT]
        return {key: value for key, value in zip(_KEYS, values, strict=True) if value}

    @classmethod
    @renamed_parameters(said="value")
    def from_dict(cls, value: object) -> End | None:
        """Return what `to_dict` was called on; None for any other value, as a file may have it."""
        if not isinstance(value, Mapping):
            return None
        cause, by, name, detail = (str(value.get(key, "")) for key in _KEYS)
        if cause not in _ENDS:
            return None
        return cls(EndCause(cause), _NODES.get(by), detail[:_MAX_TEXT], name[:_MAX_TEXT])


_KEYS = ("cause", "by", "name", "detail")
_ENDS = frozenset(EndCause) - {EndCause.OPEN, EndCause.SILENT}
_NODES = {"client": Direction.TO_UPSTREAM, "upstream": Direction.TO_CLIENT}

STOPPED = End(EndCause.STOPPED)
STOPPED_AT_ONCE = End(EndCause.STOPPED, detail="proxy stopped at once")
OPEN, SILENT = End(EndCause.OPEN), End(EndCause.SILENT)
