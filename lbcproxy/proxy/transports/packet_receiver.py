"""One direction of a session whose sender's leg is encrypted: what its packets become."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from lbcproxy.plugins.delivery_queue import dropped
from lbcproxy.proxy.forwarding import Forwarder
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.session import Decoy, Delivery, Direction, End, EndCause, PacketForm, Session
from lbcproxy.transport.events import (
    BreakCause,
    Broken,
    DecoyReceived,
    GarbageReceived,
    PacketReceived,
    TransportEvent,
    Unread,
    VersionReceived,
)
from lbcproxy.transport.messages import frame_of, is_usual, parse_contents

if TYPE_CHECKING:
    from lbcproxy.proxy.transports.encrypted_leg import EncryptedLeg

__all__ = ["PacketOwner", "PacketReceiver", "report_broken"]

_USUAL = PacketForm()
_NO_TYPE = "a packet without a message type"


class PacketOwner(Protocol):
    """The session that packets belong to."""

    session: Session

    @property
    def forwarder(self) -> Forwarder:
        """What becomes of messages."""

    def stop(self, end: End) -> None:
        """End the session in order."""


class PacketReceiver:
    """Handles the events of one encrypted leg, and repeats its handshake on the other leg.

    Args:
        direction: Where the packets go.
        magic: The four bytes of the network.
        owner: The session.
        inspector: Reads and reports what passes.
        target: The other leg, if that is encrypted too.
    """

    def __init__(
        self,
        direction: Direction,
        magic: bytes,
        owner: PacketOwner,
        inspector: Inspector,
        target: EncryptedLeg | None,
    ) -> None:
        self._direction = direction
        self._magic = magic
        self._frame_of = partial(frame_of, magic)
        self._owner = owner
        self._inspector = inspector
        self._target = target
        self._unusual = _USUAL
        """What came before the next message."""
        self._contents: list[bytes] = []

    def handle(self, events: Sequence[TransportEvent]) -> None:
        """Handle what happened on the leg, in order."""
        for event in events:
            if isinstance(event, PacketReceived):
                contents = event.contents
                if self._unusual == _USUAL and is_usual(contents):
                    self._contents.append(contents)
                else:
                    self._forward_all()
                    self._forward_unusual(contents)
            else:
                self._forward_all()
                self._handle_other(event)
        self._forward_all()

    def _forward_all(self) -> None:
        """Forward the usual messages that have been collected.

        Their frames are made when they are taken, so that no node waits for that.
        """
        if self._contents:
            contents, self._contents = self._contents, []
            frames = map(self._frame_of, contents)
            self._owner.forwarder.received_packets(self._direction, frames, contents)

    def _forward_unusual(self, contents: bytes) -> None:
        message = parse_contents(contents)
        if message is None:
            untyped = self._inspector.read_untyped(self._direction, contents, _NO_TYPE)
            if self._target is None:
                trail = "transport: drop: it has no command"
                untyped = [dropped(each, trail) for each in untyped]
            self._offer(untyped)
            return
        is_long = message.short_id is None and not is_usual(contents)
        form = msgspec.structs.replace(self._unusual, is_long=is_long)
        self._unusual = _USUAL
        frame = message.frame(self._magic)
        self._offer(self._inspector.read_packet(self._direction, frame, form, contents))

    def _handle_other(self, event: TransportEvent) -> None:
        match event:
            case GarbageReceived():
                self._note(garbage=event.size)
                if self._target is not None:
                    self._target.end_garbage(event.size)
            case VersionReceived():
                if event.contents:
                    self._note(version_size=len(event.contents))
                if self._target is not None:
                    self._target.send_version()
            case DecoyReceived():
                self._note(decoys=self._unusual.decoys + 1)
                if self._target is not None:
                    self._offer((Delivery(b"", packet=Decoy(event.size)),))
            case Broken():
                report_broken(self._owner, self._inspector, self._direction, event)
            case Unread():
                why = "cannot be decrypted, after what could not be"
                self._inspector.junk(self._direction, event.data, why)

    def _offer(self, deliveries: Sequence[Delivery]) -> None:
        self._owner.forwarder.offer(self._direction, deliveries)

    def _note(self, **found: int) -> None:
        self._unusual = msgspec.structs.replace(self._unusual, **found)


def report_broken(
    owner: PacketOwner, inspector: Inspector, direction: Direction, broken: Broken
) -> None:
    """Have the rest recorded of what cannot be decrypted, and end the session if it was not cut."""
    inspector.junk(direction, broken.rest, f"cannot be decrypted: {broken.detail}")
    if broken.cause is not BreakCause.CUT_OFF:
        who = "client" if direction is Direction.TO_UPSTREAM else "upstream"
        detail = f"{who}: encrypted transport: {broken.detail}"
        owner.stop(End(EndCause.PROTOCOL, direction, detail))
