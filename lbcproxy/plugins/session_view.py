"""A session as a plugin sees it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from lbcproxy.plugins.host import PipelineHost
from lbcproxy.plugins.verdicts import Sendable
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.info import SessionInfo
from lbcproxy.session.node_state import NodeState, NodeStatistics, Stage
from lbcproxy.session.session import Session
from lbcproxy.wire.messages.handshake import Version

__all__ = ["Injector", "LiveSession", "NodeView"]


class Injector(Protocol):
    """What a `LiveSession` needs of the pipeline."""

    host: PipelineHost
    info: SessionInfo | None

    def inject(
        self, name: str, direction: Direction, messages: Sequence[Sendable], why: str = ...
    ) -> None:
        """Send messages of a plugin in a direction."""

    def later(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        """Call a plugin's function later."""


class NodeView:
    """One of the two nodes, read-only."""

    __slots__ = ("_state",)

    def __init__(self, state: NodeState) -> None:
        self._state = state

    @property
    def stage(self) -> Stage:
        """The stage of its handshake."""
        return self._state.stage

    @property
    def version(self) -> Version | None:
        """The `version` message that it has sent; None before."""
        return self._state.version

    @property
    def protocol_version(self) -> int | None:
        """The protocol version of its leg; None before it is negotiated."""
        return self._state.protocol_version

    @property
    def bytes(self) -> int:
        """The number of bytes that it has sent."""
        return self._state.bytes

    @property
    def junk_bytes(self) -> int:
        """The number of those bytes that were not part of a message."""
        return self._state.junk_bytes

    @property
    def commands(self) -> Counter[str]:
        """How many messages of each command it has sent so far."""
        return self._state.commands.copy()

    def statistics(self) -> NodeStatistics:
        """Return all of that at this moment, as a value that does not change."""
        return self._state.statistics()


class LiveSession:
    """The session that hooks are called with."""

    def __init__(self, pipeline: Injector, core: Session, name: str) -> None:
        self._pipeline = pipeline
        self._core = core
        self._name = name

    def __repr__(self) -> str:
        return f"<LiveSession {self.number}>"

    @property
    def number(self) -> int:
        """Its number, as in captures and log lines."""
        return self._core.number

    @property
    def network(self) -> str:
        """The network's id, as `lbry-mainnet`."""
        return self._core.network.id

    @property
    def info(self) -> SessionInfo:
        """Its number, network, addresses and transports."""
        info, transports = self._pipeline.info, self._core.transports
        assert info is not None
        return info.with_transports(transports) if transports else info

    @property
    def facts(self) -> SessionInfo:
        """The old name of `info`."""
        warnings.warn("session.facts is now session.info", DeprecationWarning, stacklevel=2)
        return self.info

    @property
    def client(self) -> NodeView:
        """What is known of the client."""
        return NodeView(self._core.client)

    @property
    def upstream(self) -> NodeView:
        """What is known of the upstream."""
        return NodeView(self._core.upstream)

    @property
    def protocol_version(self) -> int | None:
        """The protocol version of the session; None before it is negotiated."""
        return self._core.protocol_version

    def inject(self, direction: Direction, *messages: Sendable, why: str = "") -> None:
        """Send messages in a direction, after everything that waits there.

        Args:
            direction: The direction.
            messages: Messages, records or `Raw` bytes.
            why: The reason, for the capture and the log line.

        Raises:
            BadRecord: A record cannot be encoded.
            OverflowError: The receiver has not read what was injected before.
        """
        self._pipeline.inject(self._name, Direction(direction), messages, why)

    def close(self, why: str = "") -> None:
        """Close the session on both sides, after what is being sent; `why` is the reason."""
        self._pipeline.host.close(End(EndCause.PLUGIN, detail=why, name=self._name))

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function after so many seconds, unless the session is over by then."""
        self._pipeline.later(self._name, seconds, call)

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Return an awaitable that ends after so many seconds, for `async` hooks."""
        return self._pipeline.host.sleep(seconds)
