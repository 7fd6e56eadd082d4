"""A packet that was changed on its way."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.packet_verdicts import DamagePacket
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Message
from lbcproxy.transport.damage import WrongTag
from lbcproxy.transport.sizes import TAG_SIZE

__all__ = ["FAULT", "Tag"]


class Tag(MessageFault, frozen=True):
    """Flip a random bit in the tag of the message's packet."""

    type = "tag"
    needs_encryption = True

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Damage the packet."""
        return [DamagePacket(WrongTag(state.random.randrange(8 * TAG_SIZE)))]


FAULT = Tag
