"""What a capture tells about one session, once all of it has been read."""

from __future__ import annotations

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.session import End, NodeStatistics, Transports

__all__ = ["SessionReport"]


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a capture, after it has ended or the capture has."""

    number: int
    network: str
    """The id of its network; empty if it is not known."""
    client: Endpoint
    server: Endpoint
    """What the client connected to; in our own captures that is the proxy."""
    upstream: str | None
    """The node behind the proxy as HOST:PORT; only our own captures name it."""
    begun: bool
    """Whether the start of the session was captured."""
    begun_ns: int
    """The time of its first packet, in nanoseconds since 1970."""
    ended_ns: int
    """The time of its last packet, likewise."""
    end: End
    """Why it ended: what the capture itself says, otherwise what TCP shows."""
    missing: int
    """Bytes that the capture lacks, in both directions."""
    to_upstream: NodeStatistics
    """The client, as shown by what it sent."""
    to_client: NodeStatistics
    """The node, likewise."""
    transports: Transports = Transports()
    """How its legs carried messages."""

    @property
    def how(self) -> str:
        """The end in words, such as `client closed` or `server reset`."""
        return self.end.describe("server")
