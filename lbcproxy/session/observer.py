"""What is told of sessions while they happen: to the recorder, the console, later to sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End
from lbcproxy.session.entry import Delivery
from lbcproxy.session.node_state import NodeStatistics, Stage

__all__ = ["Lost", "Observer", "SessionInfo", "SessionSummary"]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Between whom a session is; by address and port."""

    number: int
    network: str
    client: Endpoint
    listen: Endpoint
    """Our address on the client leg."""
    upstream: Endpoint
    """Where the upstream leg leads."""
    local: Endpoint | None = None
    """Our address on the upstream leg, once it is connected."""


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended."""

    facts: SessionInfo
    end: End
    """Why it ended, and who ended it."""
    protocol_version: int | None
    """The version the two agreed on, or None if they did not come to it."""
    client: NodeStatistics
    upstream: NodeStatistics

    @property
    def is_ready(self) -> bool:
        """Whether both nodes had finished the handshake."""
        return self.client.stage is Stage.READY and self.upstream.stage is Stage.READY

    @property
    def why(self) -> str:
        """The end in words; only to be shown."""
        return self.end.text


Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Lost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of what happened is not recorded."""

    messages: Count = 0
    size: Count = msgspec.field(default=0, name="bytes")
    """Bytes: of capture files, or where nobody has made any of it, of the nodes."""
    packets: Count = 0
    """What a capture of others dropped."""
    why: str = ""
    """What is known of the cause, for people."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.size or self.packets)

    def __add__(self, other: Lost) -> Lost:
        return Lost(
            messages=self.messages + other.messages,
            size=self.size + other.size,
            packets=self.packets + other.packets,
            why=self.why or other.why,
        )

    @property
    def words(self) -> str:
        """Return it in words."""
        found = []
        if self.messages or self.size:
            found.append(f"{self.messages:,} messages ({self.size:,} bytes of capture)")
        if self.packets:
            found.append(f"{self.packets:,} packets")
        return f"{' and '.join(found)} were not recorded"


class Observer:
    """Is told what happens, in order. Each method does nothing here; times in nanoseconds, UTC."""

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """A client connected."""

    def continued(self, facts: SessionInfo, protocol_version: int | None, time_ns: int) -> None:
        """A session of which the beginning is not known; a capture may have missed it.

        `protocol_version` is what its nodes had agreed on, if that is known all the same.
        """
        self.started(facts, time_ns)

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """The upstream leg is there."""

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Bytes passed, some of them completing messages."""

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """It is known why the session ends. Told once, before the first end of a direction.

        What waits may still pass. Where nothing else is told of the end, `ended` says it alone.
        """

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """The sender in this direction closed it in order."""

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """The sender in this direction broke its connection off."""

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Both legs are gone."""

    def left(self, summary: SessionSummary, time_ns: int) -> None:
        """No more is known of a session that nobody has closed: a capture tells it no further."""

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Something is missing here: this observer failed at it, or a capture lacks it.

        Without `facts` nobody knows which sessions it is of.
        """

    def gone(self, facts: SessionInfo, time_ns: int) -> None:
        """A session is over that this observer failed at, and was told no more of."""
