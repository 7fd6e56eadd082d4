"""What is known of a session: its endpoints while it runs, and how it ended."""

from __future__ import annotations

from typing import Annotated

import msgspec

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.endpoint import Endpoint
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End
from lbcproxy.session.leg_transport import LegTransport, Transports
from lbcproxy.session.node_state import NodeStatistics, Stage

__all__ = ["Lost", "SessionInfo", "SessionSummary"]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoints and the network of a session."""

    number: int
    network: str
    client: Endpoint
    listen: Endpoint
    """Our address on the client leg."""
    upstream: Endpoint
    """The remote address of the upstream leg."""
    local: Endpoint | None = None
    """Our address on the upstream leg, once it is connected."""
    client_transport: LegTransport = LegTransport()
    """The transport of the client leg, once `TransportsAgreed` has been sent."""
    upstream_transport: LegTransport = LegTransport()
    """The transport of the upstream leg, from the same moment on."""

    @property
    def transports(self) -> Transports:
        """The transports of both legs."""
        return Transports(self.client_transport, self.upstream_transport)

    def with_transports(self, transports: Transports) -> SessionInfo:
        """Return the same session with other transports."""
        client, upstream = transports.client, transports.upstream
        return msgspec.structs.replace(self, client_transport=client, upstream_transport=upstream)

    def transport_from(self, direction: Direction) -> LegTransport:
        """Return the transport of the leg on which the bytes of a direction are received."""
        to_upstream = direction is Direction.TO_UPSTREAM
        return self.client_transport if to_upstream else self.upstream_transport


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended."""

    facts = DeprecatedAttribute("info")

    info: SessionInfo
    end: End
    """Why it ended, and which node ended it."""
    protocol_version: int | None
    """The negotiated version; None if the nodes did not get that far."""
    client: NodeStatistics
    upstream: NodeStatistics

    @property
    def is_ready(self) -> bool:
        """Whether both nodes had finished the handshake."""
        return self.client.stage is Stage.READY and self.upstream.stage is Stage.READY

    @property
    def why(self) -> str:
        """The end in words; for display only."""
        return self.end.text


Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Lost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of what happened is not recorded."""

    words = DeprecatedAttribute("description")

    messages: Count = 0
    size: Count = msgspec.field(default=0, name="bytes")
    """Bytes of capture file; bytes of the nodes' streams where no capture was made of them."""
    packets: Count = 0
    """Packets that the program which wrote the capture dropped."""
    why: str = ""
    """What is known of the cause; for display only."""

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
    def description(self) -> str:
        """The loss in words."""
        found = []
        if self.messages or self.size:
            found.append(f"{self.messages:,} messages ({self.size:,} bytes of capture)")
        if self.packets:
            found.append(f"{self.packets:,} packets")
        return f"{' and '.join(found)} were not recorded"
