"""Packets that say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.packet_verdicts import InjectDecoys
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Decoy, Message
from lbcproxy.transport.messages import MAX_CONTENTS

__all__ = ["FAULT", "Decoys"]


class Decoys(MessageFault, frozen=True):
    """Send `count` decoy packets before the message, each with `size` bytes of contents."""

    type = "decoy"
    needs_encryption = True

    size: Annotated[int, Meta(ge=0, le=MAX_CONTENTS, description="bytes")] = 0
    count: Annotated[int, Meta(ge=1, le=1000, description="packets")] = 1

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Inject the decoys."""
        return [InjectDecoys(*[Decoy(self.size)] * self.count)]


FAULT = Decoys
