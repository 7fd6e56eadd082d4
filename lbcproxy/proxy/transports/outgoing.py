"""What the nodes of a session are sent, in the form of their legs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lbcproxy.plugins.delivery_queue import bytes_to_send
from lbcproxy.proxy.transports.packet_sender import PacketSender
from lbcproxy.proxy.wires import Wires
from lbcproxy.session import Delivery, Direction

__all__ = ["Outgoing"]


class Outgoing:
    """Sends frames and deliveries. Until the form of both legs is known, they wait.

    Only plugins send something that early: nothing of a node has been read.

    Args:
        wires: The connections.
        held_changed: Called when more waits.
    """

    def __init__(self, wires: Wires, held_changed: Callable[[], object]) -> None:
        self._wires = wires
        self._held_changed = held_changed
        self._senders: Mapping[Direction, PacketSender] | None = None
        self._waiting: list[tuple[Direction, Sequence[Delivery]]] = []
        self._waiting_size = 0

    @property
    def held(self) -> int:
        """Bytes that wait, also for the rest of a message."""
        senders = () if self._senders is None else self._senders.values()
        return self._waiting_size + sum(sender.held for sender in senders)

    def begin(self, senders: Mapping[Direction, PacketSender]) -> None:
        """Send what waits, and all else at once.

        Args:
            senders: Those of the directions whose receiver gets packets.
        """
        self._senders = senders
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        for direction, deliveries in waiting:
            self.send(direction, deliveries)

    def encrypts(self, direction: Direction) -> bool:
        """Whether the receiver of a direction gets packets."""
        return self._sender(direction) is not None

    def end(self, direction: Direction) -> None:
        """Expect nothing more in a direction."""
        if sender := self._sender(direction):
            sender.end()

    def send_contents(self, direction: Direction, contents: Sequence[bytes]) -> None:
        """Send packets with these contents over the leg of a receiver, which is encrypted."""
        assert self._senders is not None
        self._senders[direction].send_contents(contents)

    def send_frames(self, direction: Direction, frames: bytes) -> None:
        """Send bytes that were received; those for an encrypted leg are whole frames."""
        if sender := self._sender(direction):
            sender.send_frames(frames)
        else:
            self._wires.write(direction, frames)

    def send(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None = None
    ) -> Sequence[Delivery]:
        """Send deliveries, whose bytes may have been joined; return what is to be reported."""
        if self._senders is None:
            self._waiting.append((direction, deliveries))
            self._waiting_size += len(bytes_to_send(deliveries))
            self._held_changed()
        elif sender := self._sender(direction):
            return sender.send(deliveries)
        else:
            self._wires.write(direction, bytes_to_send(deliveries) if data is None else data)
        return deliveries

    def _sender(self, direction: Direction) -> PacketSender | None:
        """Return what makes the packets of a direction; None if none is sent."""
        return None if self._senders is None else self._senders.get(direction)
