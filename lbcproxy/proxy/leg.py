"""One of the two peers of a session in mode `terminate`; it tells what it reads and writes."""

from __future__ import annotations

from typing import Any, Protocol

from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.peer.effects import RawFrame, Read
from lbcproxy.proxy.negotiation import Negotiation
from lbcproxy.proxy.settings import ProxySession, Runtime
from lbcproxy.session import Direction
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.record import MessageRecord

__all__ = ["LegOwner", "TerminatingLeg"]


class LegOwner(ProxySession, Protocol):
    """The session of two legs."""

    negotiation: Negotiation
    runtime: Runtime

    def leg_opened(self, leg: TerminatingLeg) -> None:
        """The connection is there."""

    def leg_ready(self, leg: TerminatingLeg) -> None:
        """The handshake is complete."""

    def leg_gone(self, leg: TerminatingLeg, why: str) -> None:
        """The connection has ended."""

    def leg_full(self, leg: TerminatingLeg) -> None:
        """The node reads less than is sent."""

    def leg_drained(self, leg: TerminatingLeg) -> None:
        """The node has read what waited."""

    def read(self, leg: TerminatingLeg, effect: Read) -> None:
        """A message was read, or bytes that are none."""

    def wrote(self, leg: TerminatingLeg, raw: bytes) -> None:
        """A message of our own was written."""

    def unreadable(self, leg: TerminatingLeg, size: int) -> None:
        """Bytes could not be read because of a defect of ours."""

    async def version_came(self, leg: TerminatingLeg, version: Version) -> None:
        """The node has sent its version; ours is sent when this returns."""


class TerminatingLeg(Peer):
    """One of the two peers; tells what it reads and writes."""

    def __init__(self, session: LegOwner, receives: Direction, config: PeerConfig) -> None:
        self._session = session
        self._written = b""
        self.receives = receives
        inbound = receives is Direction.TO_UPSTREAM
        super().__init__(
            config,
            inbound=inbound,
            clock=session.runtime.clock,
            callbacks=self,
            receives=receives,
        )

    def received(self, data: bytes) -> None:
        """Take bytes in, and count what they leave unfinished."""
        try:
            super().received(data)
        except Exception:
            self._session.unreadable(self, len(data))
        self._session.runtime.budget.update(self._session)

    def opened(self) -> None:
        """Tell that the connection is there, then begin."""
        self._session.leg_opened(self)
        super().opened()

    def filled(self) -> None:
        """Read no more from the other side than this one can take."""
        super().filled()
        self._session.leg_full(self)

    def drained(self) -> None:
        """Read on, if what waited with us did not fill it again."""
        super().drained()
        if not self.full:
            self._session.leg_drained(self)

    def write(self, data: bytes) -> None:
        """Write, and keep the frame until `on_write` tells what it is."""
        super().write(data)
        self._written = data

    def on_write(self, _: Peer, size: int, record: MessageRecord | RawFrame) -> None:
        """Have it recorded if it is nothing that was passed on."""
        raw, self._written = self._written, b""
        if not isinstance(record, RawFrame):
            self._session.wrote(self, raw)

    def _was_read(self, effect: Read) -> None:
        """Pass on, or keep, whatever came."""
        super()._was_read(effect)
        self._session.read(self, effect)

    def on_version(self, _: Peer, version: Version) -> Any:
        """Let the other side hear of it first."""
        return self._session.version_came(self, version)

    def on_verack(self, _: Peer, __: MessageRecord) -> Any:
        """Let nothing more be read until the node has our own."""
        return self._session.negotiation.verack_came(self.receives)

    def on_ready(self, _: Peer) -> None:
        """Have noted what was agreed."""
        self._session.leg_ready(self)

    def on_disconnected(self, _: Peer, why: str) -> None:
        """End the other side too."""
        self._session.leg_gone(self, why)
