"""Sends frames to a node in the packets of an encrypted leg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from lbcproxy.session import Damaged, Decoy, Delivery, EntryVerdict, WrongTag
from lbcproxy.transport.messages import MAX_CONTENTS, contents_of
from lbcproxy.wire.envelope import HEADER_SIZE, checksum, unpack

if TYPE_CHECKING:
    from lbcproxy.proxy.encrypted_leg import EncryptedLeg

__all__ = ["PacketSender"]


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
        self._magic = magic
        self._not_expressible = not_expressible
        self._parts: list[bytes] = []  # of a frame that is read in parts

    def send_contents(self, contents: Sequence[bytes]) -> None:
        """Send a packet for each of these contents."""
        self._leg.send(contents)

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
            elif each.run is not None or each.unread:
                self.send_frames(each.raw)
            elif not each.entries:
                self._parts.append(each.raw)
            elif not self._send_one(each):
                return [*deliveries[:number], *map(_not_sent, deliveries[number:])]
        return deliveries

    def _send_one(self, delivery: Delivery) -> bool:
        """Send one message as it was received; return False if that is not possible."""
        [entry] = delivery.entries
        raw = b"".join((*self._parts, delivery.raw))
        self._parts.clear()
        if entry.message is None:
            self._not_expressible(f"bytes that are not a message: {entry.error}")
            return False
        if len(raw) - HEADER_SIZE > MAX_CONTENTS - HEADER_SIZE:
            self._not_expressible(f"{entry.command!r} of {entry.length:,} bytes")
            return False
        self._leg.send((contents_of(raw),))
        return True

    def _send_damaged(self, delivery: Delivery, packet: Damaged) -> None:
        """Send a message with a damage, in the form in which it came if it is the same."""
        contents = packet.contents
        if contents is None or delivery.sent is not None:
            made = delivery.raw if delivery.sent is None else delivery.sent
            contents = contents_of(made[:MAX_CONTENTS], short=_is_short(delivery))
        self._leg.send_damaged(contents, packet.damage)

    def _send_made(self, made: bytes, delivery: Delivery) -> None:
        """Send what plugins and faults made. What is not a valid frame gets a wrong tag."""
        short = _is_short(delivery)
        while made:
            header = unpack(made) if len(made) >= HEADER_SIZE else None
            end = HEADER_SIZE + header.length if header is not None else len(made) + 1
            is_frame = made.startswith(self._magic) and end <= len(made)
            if header is None or not is_frame or len(made) > MAX_CONTENTS:
                self._leg.send_damaged(made[:MAX_CONTENTS], WrongTag())
                return
            raw, made = made[:end], made[end:]
            if header.checksum == checksum(raw[HEADER_SIZE:]):
                self._leg.send((contents_of(raw, short=short),))
            else:
                self._leg.send_damaged(contents_of(raw, short=short), WrongTag())


def _is_short(delivery: Delivery) -> bool:
    """Whether what is sent for a message has a short type if its command has one."""
    form = delivery.entries[0].form if delivery.entries else None
    return form is None or not form.is_long


def _not_sent(delivery: Delivery) -> Delivery:
    trail = "transport: drop: not expressible on an encrypted connection"
    entries = tuple(
        msgspec.structs.replace(each, verdict=EntryVerdict.DROP, trail=(*each.trail, trail))
        for each in delivery.entries
    )
    return Delivery(delivery.raw, entries, b"", unread=delivery.unread)
