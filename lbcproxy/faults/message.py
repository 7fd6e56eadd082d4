"""Faults by message: what they do to one, and when.

They work as plugins do, so that line and capture say which fault met which message. The same seed
over the same messages gives the same faults.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

import msgspec

from lbcproxy.discover import entries
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session import Message

__all__ = ["Memory", "MessageKind", "message_kinds"]


class Memory:
    """What a fault remembers of one session."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.kept: list[Message] = []
        """Messages that it has kept."""


class MessageKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attributes of a fault by message.

    The docstring of a subclass says what it does, in one sentence.
    """

    type: ClassVar[str]

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Say what becomes of a message that it meets."""
        raise NotImplementedError


@functools.cache
def message_kinds() -> dict[str, Any]:
    """Give every kind by its type, in the order of their names."""
    return {module.KIND.type: module.KIND for module in entries("lbcproxy.faults.by_message")}
