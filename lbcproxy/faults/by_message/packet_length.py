"""A packet that claims to be longer or shorter than it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.packet_verdicts import DamagePacket
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Message
from lbcproxy.transport.damage import WrongLength
from lbcproxy.transport.messages import MAX_CONTENTS

__all__ = ["FAULT", "PacketLength"]


class PacketLength(MessageFault, frozen=True):
    """Have the message's packet claim that its contents have `length` bytes."""

    type = "packet_length"
    needs_encryption = True

    length: Annotated[
        int, Meta(ge=0, le=MAX_CONTENTS, description="bytes; the most that fits if left out")
    ] = MAX_CONTENTS

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Damage the packet."""
        return [DamagePacket(WrongLength(self.length))]


FAULT = PacketLength
