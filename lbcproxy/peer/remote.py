"""What a full peer knows of the node at its other end, beside what it counts."""

from __future__ import annotations

from lbcproxy.wire.messages.handshake import Version

__all__ = ["Remote"]


class Remote:
    """The node: what it said in its `version`, what it asked for, how far it is known to be."""

    def __init__(self) -> None:
        self.id = 0
        self.version: Version | None = None
        self.time_offset: int | None = None
        self.last_block: int | None = None
        self.last_announced: bytes | None = None
        self.wants_headers = False

    @property
    def services(self) -> int:
        """The service bits it signals; none before its `version`."""
        return 0 if self.version is None else self.version.services

    def introduced(self, version: Version, number: int, wall: float) -> None:
        """Take its `version`, at a time of day in unix seconds."""
        self.id = number
        self.version = version
        self.time_offset = version.timestamp - int(wall)
        self.last_block = version.start_height

    def heard(self, command: str) -> None:
        """Take note of what a message asks for."""
        self.wants_headers = self.wants_headers or command == "sendheaders"
