"""A session as a plugin sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.host import Host
from lbcproxy.session.observer import SessionFacts
from lbcproxy.session.session import Session
from lbcproxy.session.side import Side
from lbcproxy.session.verdicts import Sendable

__all__ = ["Injecting", "LiveSession"]


class Injecting(Protocol):
    """What of a pipeline it needs."""

    host: Host
    facts: SessionFacts | None

    def inject(
        self, who: str, direction: Direction, messages: Sequence[Sendable], why: str = ...
    ) -> None:
        """Put something into a direction."""

    def later(self, who: str, seconds: float, call: Callable[[], object]) -> None:
        """Call something later."""


class LiveSession:
    """A session, as a plugin sees it."""

    def __init__(self, pipeline: Injecting, core: Session, who: str) -> None:
        self._pipeline = pipeline
        self._core = core
        self._who = who

    def __repr__(self) -> str:
        return f"<LiveSession {self.number}>"

    @property
    def number(self) -> int:
        """Its number, as in captures and lines."""
        return self._core.number

    @property
    def network(self) -> str:
        """The network's id."""
        return self._core.network.id

    @property
    def facts(self) -> SessionFacts:
        """Between which addresses it is."""
        assert self._pipeline.facts is not None
        return self._pipeline.facts

    @property
    def client(self) -> Side:
        """What the client has told of itself."""
        return self._core.client

    @property
    def upstream(self) -> Side:
        """What the upstream has told of itself."""
        return self._core.upstream

    @property
    def protocol_version(self) -> int | None:
        """The version the two have agreed on."""
        return self._core.protocol_version

    def inject(self, direction: Direction, *messages: Sendable, why: str = "") -> None:
        """Send something in a direction, behind all that waits there.

        Raises `wire.BadRecord` for what cannot be encoded, OverflowError if the receiver does not
        read what was injected before.
        """
        self._pipeline.inject(self._who, Direction(direction), messages, why)

    def close(self, why: str = "") -> None:
        """End the session in order."""
        self._pipeline.host.close(End(EndCause.PLUGIN, detail=why, name=self._who))

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something later, unless the session is over by then."""
        self._pipeline.later(self._who, seconds, call)

    def sleep(self, seconds: float) -> Any:
        """Give something to await, for hooks that are `async`: so many seconds pass."""
        return self._pipeline.host.sleep(seconds)
