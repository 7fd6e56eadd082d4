"""A message is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from lbcproxy.faults.message import Memory, MessageKind
from lbcproxy.plugins.verdicts import Raw, Replace, Verdict
from lbcproxy.session import Message
from lbcproxy.wire.envelope import HEADER_SIZE, frame

__all__ = ["KIND", "Corrupt"]


class Corrupt(MessageKind, frozen=True):
    """Damage the message: its header, or its payload under a sound header."""

    type = "corrupt"

    how: Annotated[
        Literal["checksum", "magic", "length", "truncate", "bit", "field"],
        Meta(description="checksum, magic, length, truncate, bit or field"),
    ] = "checksum"
    field: Annotated[str, Meta(description="the field that gets another value, for `field`")] = ""

    def decide(self, message: Message, memory: Memory) -> Sequence[Verdict]:
        """Send it damaged; what has nothing to damage passes."""
        why = f"{self.how} damaged" if self.how != "field" else f"{self.field} changed"
        if self.how == "field":
            changed = self._changed(message, memory)
            return [] if changed is None else [Replace(changed, why=why)]
        raw = self._damaged(message, memory)
        return [] if raw == message.raw else [Replace(Raw(raw), why=why)]

    def _damaged(self, message: Message, memory: Memory) -> bytes:
        raw = bytearray(message.raw)
        payload = message.payload
        if self.how == "checksum":
            raw[20 + memory.random.randrange(4)] ^= 1 << memory.random.randrange(8)
        elif self.how == "magic":
            raw[memory.random.randrange(4)] ^= 1 << memory.random.randrange(8)
        elif self.how == "length":
            raw[16:20] = (len(payload) + memory.random.randint(1, 64)).to_bytes(4, "little")
        elif payload and self.how == "truncate":
            cut = payload[: memory.random.randrange(len(payload))]
            return frame(bytes(raw[:4]), message.command, cut)
        elif payload:
            damaged = bytearray(payload)
            damaged[memory.random.randrange(len(payload))] ^= 1 << memory.random.randrange(8)
            return frame(bytes(raw[:4]), message.command, bytes(damaged))
        assert len(raw) >= HEADER_SIZE
        return bytes(raw)

    def _changed(self, message: Message, memory: Memory) -> Message | None:
        value = getattr(message.record, self.field, None)
        other: Any
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, int):
            other = memory.random.randrange(256) if value != 0 else 1 + memory.random.randrange(255)
        elif isinstance(value, bytes):
            other = memory.random.randbytes(len(value))
        elif isinstance(value, tuple) and value:
            other = value[:-1]
        else:
            return None
        return message.replace(**{self.field: other})


KIND = Corrupt
