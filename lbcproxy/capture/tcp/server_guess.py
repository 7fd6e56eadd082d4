"""Which end is the server of a connection whose SYN was not captured."""

from __future__ import annotations

from lbcproxy.capture.packet import Segment
from lbcproxy.capture.tcp.delivery import is_version
from lbcproxy.endpoint import Endpoint

__all__ = ["ServerGuess"]

_MAX_SERVERS = 1024
_CLIENT_PORTS = 32_768  # where the ports begin that systems give to those who connect: Linux's


class ServerGuess:
    """Guesses by the first of these that tells the two sides apart.

    1. The server has a port that servers are known to have.
    2. The server was connected to before, in the same capture.
    3. The server has a port below those that systems give to clients.
    4. The client sends its `version` first, since servers answer with theirs.
    5. The client has the higher port; with equal ports it is who was seen first.
    """

    def __init__(self, ports: frozenset[int]) -> None:
        self._ports = ports
        self._known: dict[Endpoint, None] = {}  # the latest last

    def add(self, server: Endpoint) -> None:
        """Take note of who was connected to."""
        self._known.pop(server, None)
        self._known[server] = None
        if len(self._known) > _MAX_SERVERS:
            del self._known[next(iter(self._known))]

    def is_answer(self, segment: Segment) -> bool:
        """Return whether a segment without a SYN before it is the server's."""
        source, target = segment.source, segment.target
        for mine, other in (
            (source.port in self._ports, target.port in self._ports),
            (source in self._known, target in self._known),
            (source.port < _CLIENT_PORTS, target.port < _CLIENT_PORTS),
        ):
            if mine is not other:
                return mine
        return not is_version(segment.payload) and source.port < target.port
