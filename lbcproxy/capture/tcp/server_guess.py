"""Guesses which end of a connection is the server if its SYN was not captured."""

from __future__ import annotations

from lbcproxy.capture.packet import Segment
from lbcproxy.capture.tcp.delivery import is_version
from lbcproxy.endpoint import Endpoint

__all__ = ["ServerGuess"]

MAX_SERVERS = 1024
FIRST_CLIENT_PORT = 32_768
"""The first ephemeral port on Linux."""


class ServerGuess:
    """Guesses by the first of these rules that distinguishes the two ends.

    1. The server has the port of a known network.
    2. The server accepted a connection earlier in the capture.
    3. The server has a port below the ephemeral ports.
    4. The client sends its `version` first, since servers answer with theirs.
    5. The client has the higher port; with equal ports, it is the end that was seen first.
    """

    def __init__(self, ports: frozenset[int]) -> None:
        self._ports = ports
        self._known: dict[Endpoint, None] = {}  # the most recent last

    def add(self, server: Endpoint) -> None:
        """Record that a server accepted a connection."""
        self._known.pop(server, None)
        self._known[server] = None
        if len(self._known) > MAX_SERVERS:
            del self._known[next(iter(self._known))]

    def is_answer(self, segment: Segment) -> bool:
        """Return whether the server sent a segment that comes first in its connection."""
        source, target = segment.source, segment.target
        for mine, other in (
            (source.port in self._ports, target.port in self._ports),
            (source in self._known, target in self._known),
            (source.port < FIRST_CLIENT_PORT, target.port < FIRST_CLIENT_PORT),
        ):
            if mine is not other:
                return mine
        return not is_version(segment.payload) and source.port < target.port
