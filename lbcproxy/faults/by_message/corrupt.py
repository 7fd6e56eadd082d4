"""A damaged message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from lbcproxy.faults.message_fault import MessageFault, MessageFaultState
from lbcproxy.plugins.verdicts import Raw, Replace, Verdict
from lbcproxy.session import Message
from lbcproxy.wire.envelope import HEADER_SIZE, frame

__all__ = ["FAULT", "Corrupt"]


class Corrupt(MessageFault, frozen=True):
    """Damage the message: its header, or its payload under a valid header."""

    type = "corrupt"

    how: Annotated[
        Literal["checksum", "magic", "length", "truncate", "bit", "field"],
        Meta(description="checksum, magic, length, truncate, bit or field"),
    ] = "checksum"
    field: Annotated[str, Meta(description="the field that gets another value, for `field`")] = ""

    def decide(self, message: Message, state: MessageFaultState) -> Sequence[Verdict]:
        """Replace the message by a damaged one; a message with nothing to damage passes."""
        why = f"{self.how} damaged" if self.how != "field" else f"{self.field} changed"
        if self.how == "field":
            changed = self._changed(message, state)
            return [] if changed is None else [Replace(changed, why=why)]
        raw = self._damaged(message, state)
        return [] if raw == message.raw else [Replace(Raw(raw), why=why)]

    def _damaged(self, message: Message, state: MessageFaultState) -> bytes:
        raw = bytearray(message.raw)
        payload = message.payload
        if self.how == "checksum":
            raw[20 + state.random.randrange(4)] ^= 1 << state.random.randrange(8)
        elif self.how == "magic":
            raw[state.random.randrange(4)] ^= 1 << state.random.randrange(8)
        elif self.how == "length":
            raw[16:20] = (len(payload) + state.random.randint(1, 64)).to_bytes(4, "little")
        elif payload and self.how == "truncate":
            cut = payload[: state.random.randrange(len(payload))]
            return frame(bytes(raw[:4]), message.command, cut)
        elif payload:
            damaged = bytearray(payload)
            damaged[state.random.randrange(len(payload))] ^= 1 << state.random.randrange(8)
            return frame(bytes(raw[:4]), message.command, bytes(damaged))
        assert len(raw) >= HEADER_SIZE
        return bytes(raw)

    def _changed(self, message: Message, state: MessageFaultState) -> Message | None:
        value = getattr(message.record, self.field, None)
        other: Any
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, int):
            other = state.random.randrange(256) if value != 0 else 1 + state.random.randrange(255)
        elif isinstance(value, bytes):
            other = state.random.randbytes(len(value))
        elif isinstance(value, tuple) and value:
            other = value[:-1]
        else:
            return None
        return message.replace(**{self.field: other})


FAULT = Corrupt
