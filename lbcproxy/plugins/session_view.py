"""A session as a plugin sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lbcproxy.plugins.host import Host
from lbcproxy.plugins.verdicts import Sendable
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.info import SessionInfo
from lbcproxy.session.node_state import NodeState, NodeStatistics, Stage
from lbcproxy.session.session import Session
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Injecting", "LiveSession", "SideView"]


class Injecting(Protocol):
    """What of a pipeline it needs."""

    host: Host
    facts: SessionInfo | None

    def inject(
        self, who: str, direction: Direction, messages: Sequence[Sendable], why: str = ...
    ) -> None:
        """Put something into a direction."""

    def later(self, who: str, seconds: float, call: Callable[[], object]) -> None:
        """Call something later."""


class SideView:
    """One of the two nodes, as a plugin sees it: there is nothing to be set."""

    __slots__ = ("_side",)

    def __init__(self, side: NodeState) -> None:
        self._side = side

    @property
    def stage(self) -> Stage:
        """How far it is in its handshake."""
        return self._side.stage

    @property
    def version(self) -> Version | None:
        """The `version` that it has sent."""
        return self._side.version

    @property
    def protocol_version(self) -> int | None:
        """The version that is spoken on its leg, once it was agreed."""
        return self._side.protocol_version

    @property
    def bytes(self) -> int:
        """Bytes that it has sent."""
        return self._side.bytes

    @property
    def junk_bytes(self) -> int:
        """Those of them that were no message."""
        return self._side.junk_bytes

    @property
    def commands(self) -> Counter[str]:
        """How many messages of which command it has sent, up to now."""
        return self._side.commands.copy()

    def statistics(self) -> NodeStatistics:
        """Return all of that as it is now, as a value that does not change."""
        return self._side.statistics()


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
    def facts(self) -> SessionInfo:
        """Between which addresses it is."""
        assert self._pipeline.facts is not None
        return self._pipeline.facts

    @property
    def client(self) -> SideView:
        """What the client has told of itself."""
        return SideView(self._core.client)

    @property
    def upstream(self) -> SideView:
        """What the upstream has told of itself."""
        return SideView(self._core.upstream)

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
