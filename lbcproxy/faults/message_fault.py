"""A fault that acts on messages: its attributes, and its verdict on a message.

It works as a plugin does, so the log line and the capture say which fault acted on which message.
The same seed and the same messages give the same faults.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from random import Random
from typing import ClassVar

import msgspec

from lbcproxy import discover
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Message

__all__ = ["MessageFault", "MessageFaultState", "message_faults"]


class MessageFaultState:
    """What a fault remembers of one session."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.kept: list[Message] = []
        """Messages that it will send later or again."""


class MessageFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attributes of a fault by message.

    The docstring of a subclass is one sentence that says what the fault does; the documentation
    quotes it. A file in `by_message/` exports its subclass as `FAULT`.
    """

    type: ClassVar[str]
    needs_encryption: ClassVar[bool] = False
    """Whether it acts on encrypted packets, so that it has no effect on a leg without them."""

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Return the verdicts on a message; none lets it pass."""
        raise NotImplementedError


@functools.cache
def message_faults() -> dict[str, type[MessageFault]]:
    """Return every fault that acts on messages, by its type, in the order of the names."""
    found = discover.classes("lbcproxy.faults.by_message", "FAULT", MessageFault)
    return {each.type: each for each in found}
