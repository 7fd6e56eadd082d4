"""Sends frames to a node in the packets of an encrypted leg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lbcproxy.plugins.delivery_queue import dropped
from lbcproxy.session import Damaged, Decoy, Delivery
from lbcproxy.transport.damage import WrongTag
from lbcproxy.transport.messages import MAX_CONTENTS, contents_of
from lbcproxy.wire.envelope import HEADER_SIZE, is_sound, unpack

if TYPE_CHECKING:
    from lbcproxy.proxy.transports.encrypted_leg import EncryptedLeg

__all__ = ["NOT_EXPRESSIBLE", "PacketSender"]

NOT_EXPRESSIBLE = "transport: drop: not expressible on an encrypted connection"
"""What the trail of a message says that no packet can hold."""


class PacketSender:
    """Turns deliveries into packets.

    Args:
        leg: The leg they are sent over.
        magic: The four bytes of the network.
        not_expressible: Called with the reason if a node sent what no packet can hold.
    """

    def __init__(
        self, leg: EncryptedLeg, magic: bytes, not_expressible: Callable[[str], object]
    ) -> None:
        self._leg = leg
        self.send_contents = leg.send
        """Send a packet for each of some contents."""
        self._magic = magic
        self._complain = not_expressible
        self._has_ended = False
        self._parts: list[bytes] = []  # of a frame that is read in parts
        self._unread = b""  # the beginning of a frame, after reading has failed

    @property
    def held(self) -> int:
        """Bytes of incomplete frames."""
        return sum(map(len, self._parts)) + len(self._unread)

    def end(self) -> None:
        """Expect nothing more, so that what was cut off does not end the session once more."""
        self._has_ended = True

    def send_frames(self, frames: bytes) -> None:
        """Send whole frames, one after another."""
        contents, at = [], 0
        while at < len(frames):
            end = at + HEADER_SIZE + unpack(frames, at).length
            contents.append(contents_of(frames[at:end]))
            at = end
        self._leg.send(contents)

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Send what deliveries hold; return them as they are to be reported."""
        for number, each in enumerate(deliveries):
            if isinstance(each.packet, Damaged):
                self._send_damaged(each, each.packet)
            elif each.sent is not None:
                self._send_made(each.sent, each)
            elif isinstance(each.packet, Decoy):
                self._leg.send_decoy(each.packet)
            elif each.packet is not None:
                self._parts.clear()  # the same message, if it was read in parts
                self._leg.send((each.packet,))
            elif each.run is not None:
                self.send_frames(each.raw)
            elif not each.entries:
                self._parts.append(each.raw)
            elif not (self._send_unread(each.raw) if each.unread else self._send_one(each)):
                lost = deliveries[number:]
                return [*deliveries[:number], *(dropped(it, NOT_EXPRESSIBLE) for it in lost)]
        return deliveries

    def _send_one(self, delivery: Delivery) -> bool:
        """Send one message as it was received; return False if that is not possible."""
        [entry] = delivery.entries
        in_parts = bool(self._parts)
        raw = b"".join((*self._parts, delivery.raw))
        self._parts.clear()
        if entry.message is None:
            self._not_expressible(f"bytes that are not a message: {entry.error}")
            return False
        if in_parts and not is_sound(raw):  # nobody has decided about it
            self._not_expressible(f"{entry.command!r}, which passed unread: {entry.error}")
            return False
        contents = contents_of(raw)
        if len(contents) > MAX_CONTENTS:
            self._not_expressible(f"{entry.command!r} of {entry.length:,} bytes")
            return False
        self._leg.send((contents,))
        return True

    def _send_unread(self, raw: bytes) -> bool:
        """Send the frames in a stream that is not read any more; return False if it has others."""
        self._unread += raw
        while len(self._unread) >= HEADER_SIZE:
            end = HEADER_SIZE + unpack(self._unread).length
            if not self._unread.startswith(self._magic) or end > MAX_CONTENTS:
                self._not_expressible("bytes that are not a message, after reading has failed")
                return False
            if len(self._unread) < end:
                break
            whole, self._unread = self._unread[:end], self._unread[end:]
            if is_sound(whole):
                self._leg.send((contents_of(whole),))
        return True

    def _not_expressible(self, what: str) -> None:
        if not self._has_ended:
            self._complain(what)

    def _send_damaged(self, delivery: Delivery, packet: Damaged) -> None:
        """Send a message with a damage, in the form in which it came if it is the same."""
        made = delivery.sent
        if packet.contents is not None:
            self._leg.send_damaged(packet.contents, packet.damage)
        elif made:  # it was not dropped
            contents = contents_of(made[:MAX_CONTENTS], short=_is_short(delivery))
            self._leg.send_damaged(contents, packet.damage)

    def _send_made(self, made: bytes, delivery: Delivery) -> None:
        """Send what plugins and faults made. What is not a valid frame gets a wrong tag."""
        short = _is_short(delivery)
        while made:
            header = unpack(made) if len(made) >= HEADER_SIZE else None
            end = HEADER_SIZE + header.length if header is not None else len(made) + 1
            is_frame = made.startswith(self._magic) and end <= len(made)
            if header is None or not is_frame or end > MAX_CONTENTS:
                self._leg.send_damaged(made[:MAX_CONTENTS], WrongTag())
                return
            raw, made = made[:end], made[end:]
            if is_sound(raw):
                self._leg.send((contents_of(raw, short=short),))
            else:
                self._leg.send_damaged(contents_of(raw, short=short), WrongTag())


def _is_short(delivery: Delivery) -> bool:
    """Whether what is sent for a message has a short type if its command has one."""
    form = delivery.entries[0].form if delivery.entries else None
    return form is None or not form.is_long
