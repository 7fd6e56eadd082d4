"""One of the two peers of a session in mode `terminate`. It reports what it reads and writes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.peer.effects import RawFrame, Read
from lbcproxy.proxy.negotiation import Negotiation
from lbcproxy.proxy.settings import ProxySession, Runtime
from lbcproxy.session import Direction
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.record import MessageRecord

__all__ = ["LegOwner", "TerminatingLeg"]


class LegOwner(ProxySession, Protocol):
    """The session that has the two legs."""

    negotiation: Negotiation
    runtime: Runtime

    def leg_opened(self, leg: TerminatingLeg) -> None:
        """A leg is connected."""

    def leg_agreed(self, leg: TerminatingLeg) -> None:
        """It is decided how a leg carries messages."""

    def leg_ready(self, leg: TerminatingLeg) -> None:
        """The handshake of a leg is complete."""

    def leg_gone(self, leg: TerminatingLeg, why: str) -> None:
        """The connection of a leg has ended, for a reason."""

    def leg_full(self, leg: TerminatingLeg) -> None:
        """The node of a leg reads more slowly than we send."""

    def leg_drained(self, leg: TerminatingLeg) -> None:
        """The node of a leg has read what waited."""

    def read(self, leg: TerminatingLeg, effect: Read) -> None:
        """A message was read, or junk."""

    def wrote(self, leg: TerminatingLeg, raw: bytes) -> None:
        """A message of our own was sent."""

    def unreadable(self, leg: TerminatingLeg, size: int) -> None:
        """Bytes could not be read because of a bug in lbcproxy."""

    async def version_came(self, leg: TerminatingLeg, version: Version) -> None:
        """The node has sent its `version`; ours is sent when this returns."""


class TerminatingLeg(Peer):
    """One of the two peers of a session in mode `terminate`."""

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

    def dataReceived(self, data: bytes) -> None:
        """Process bytes, and update the budget with what they leave incomplete."""
        super().dataReceived(data)
        self._session.runtime.budget.update(self._session)

    def agreed(self) -> None:
        """Notify the session."""
        self._session.leg_agreed(self)

    def received(self, data: bytes) -> None:
        """Process messages; a defect ends the session."""
        try:
            super().received(data)
        except Exception:
            self._session.unreadable(self, len(data))

    def opened(self) -> None:
        """Notify the session, then start the handshake."""
        self._session.leg_opened(self)
        super().opened()

    def filled(self) -> None:
        """Have the session stop reading from the other leg."""
        super().filled()
        self._session.leg_full(self)

    def drained(self) -> None:
        """Have the session read from the other leg, unless our own queue filled this one again."""
        super().drained()
        if not self.full:
            self._session.leg_drained(self)

    def write(self, data: bytes) -> None:
        """Write, and keep the frame until `on_write` says what it is."""
        super().write(data)
        self._written = data

    def on_write(self, _: Peer, size: int, record: MessageRecord | RawFrame) -> None:
        """Have a message recorded, unless it was forwarded."""
        raw, self._written = self._written, b""
        if not isinstance(record, RawFrame):
            self._session.wrote(self, raw)

    def _was_read(self, effect: Read) -> None:
        """Pass what was read to the session."""
        super()._was_read(effect)
        self._session.read(self, effect)

    def on_version(self, _: Peer, version: Version) -> Awaitable[None]:
        """Let the other leg use it before we answer."""
        return self._session.version_came(self, version)

    def on_verack(self, _: Peer, __: MessageRecord) -> Awaitable[None]:
        """Process nothing more until our `verack` has been sent."""
        return self._session.negotiation.verack_came(self.receives)

    def on_ready(self, _: Peer) -> None:
        """Notify the session."""
        self._session.leg_ready(self)

    def on_disconnected(self, _: Peer, why: str) -> None:
        """Notify the session, which ends the other leg too."""
        self._session.leg_gone(self, why)
