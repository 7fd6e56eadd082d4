"""Reading that cannot fail: what cannot be parsed passes as raw bytes."""

from __future__ import annotations

from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import Delivery
from lbcproxy.session.leg_transport import PacketForm
from lbcproxy.session.session import Session

__all__ = ["SafeReader"]


class SafeReader:
    """Reads for a session. If that fails, by a defect or for lack of memory, bytes pass unread.

    A node must not suffer because we cannot read what it sends, and recording needs no reading.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> list[Delivery]:
        """Do what `Session.receive` does."""
        try:
            return self._session.receive(direction, data, time_ns)
        except Exception as error:
            return self._session.salvage(direction, data, time_ns, error)

    def receive_packet(
        self,
        direction: Direction,
        raw: bytes,
        time_ns: int,
        form: PacketForm | None,
        contents: bytes | None,
    ) -> list[Delivery]:
        """Do what `Session.receive_packet` does."""
        try:
            return self._session.receive_packet(direction, raw, time_ns, form, contents)
        except Exception as error:
            return self._session.salvage(direction, raw, time_ns, error)

    def end(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Do what `Session.end` does."""
        try:
            return self._session.end(direction, time_ns)
        except Exception as error:
            return self._session.salvage(direction, b"", time_ns, error)

    def release_partial(self, direction: Direction, time_ns: int) -> list[Delivery]:
        """Do what `Session.release_partial` does."""
        try:
            return self._session.release_partial(direction, time_ns)
        except Exception as error:
            return self._session.salvage(direction, b"", time_ns, error)
