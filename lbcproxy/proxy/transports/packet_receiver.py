"""One direction of a session whose sender's leg is encrypted: what its packets become."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from lbcproxy.plugins.delivery_queue import dropped
from lbcproxy.proxy.forwarding import Forwarder
from lbcproxy.proxy.inspector import Inspector
from lbcproxy.session import Decoy, Delivery, Direction, End, EndCause, Session
from lbcproxy.session.packet_forms import USUAL, PacketForms, junk_of
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
        self._forms = PacketForms()
        self._contents: list[bytes] = []

    def handle(self, events: Sequence[TransportEvent]) -> None:
        """Handle what happened on the leg, in order."""
        for event in events:
            if isinstance(event, PacketReceived):
                contents = event.contents
                if self._forms.pending == USUAL and is_usual(contents):
                    self._contents.append(contents)
                else:
                    self._forward_all()
                    self._forward_unusual(event)
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

    def _forward_unusual(self, packet: PacketReceived) -> None:
        contents = packet.contents
        message = parse_contents(contents)
        if message is None:
            untyped = self._inspector.read_untyped(self._direction, *junk_of(packet))
            if self._target is None:
                trail = "transport: drop: it has no command"
                untyped = [dropped(each, trail) for each in untyped]
            self._offer(untyped)
            return
        form = self._forms.take(message, contents)
        frame = message.frame(self._magic)
        self._offer(self._inspector.read_packet(self._direction, frame, form, contents))

    def _handle_other(self, event: TransportEvent) -> None:
        self._forms.note(event)
        match event:
            case GarbageReceived():
                if self._target is not None:
                    self._target.end_garbage(event.size)
            case VersionReceived():
                if self._target is not None:
                    self._target.send_version()
            case DecoyReceived():
                if self._target is not None:
                    self._offer((Delivery(b"", packet=Decoy(event.size)),))
            case Broken():
                report_broken(self._owner, self._inspector, self._direction, event)
            case Unread():
                self._inspector.junk(self._direction, *junk_of(event))

    def _offer(self, deliveries: Sequence[Delivery]) -> None:
        self._owner.forwarder.offer(self._direction, deliveries)


def report_broken(
    owner: PacketOwner, inspector: Inspector, direction: Direction, broken: Broken
) -> None:
    """Have the rest recorded of what cannot be decrypted, and end the session if it was not cut."""
    inspector.junk(direction, *junk_of(broken))
    if broken.cause is not BreakCause.CUT_OFF:
        who = "client" if direction is Direction.TO_UPSTREAM else "upstream"
        detail = f"{who}: encrypted transport: {broken.detail}"
        owner.stop(End(EndCause.PROTOCOL, direction, detail))
