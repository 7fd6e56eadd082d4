"""What a message means, for finding the same one in another conversation."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from lbcproxy.replay.comparing.ignored_fields import Ignored
from lbcproxy.session import Direction, Entry, Message
from lbcproxy.text import printable

__all__ = ["JUNK", "LISTS", "NAMED", "Said", "items_of", "meaning_of", "name_of", "plain"]

JUNK = "(junk)"
"""The command of bytes that are no message."""

LISTS = frozenset({"inv", "getdata", "notfound"})
"""Lists of things, whose division into messages means nothing: things are matched one by one."""

_NAMES: dict[str, Callable[[Any], bytes]] = {
    "block": lambda record: record.header.hash,
    "merkleblock": lambda record: record.header.hash,
    "cmpctblock": lambda record: record.header.hash,
    "blocktxn": lambda record: record.block_hash,
    "tx": lambda record: record.txid,
    "cfilter": lambda record: record.block_hash,
}
NAMED = frozenset(_NAMES)
"""Commands that carry a thing with a hash: another thing is another message, not a changed one."""


class Said(msgspec.Struct, frozen=True):
    """One message of a conversation that is compared."""

    number: int
    """Its number in its capture."""
    time_ns: int
    direction: Direction
    command: str
    content: Callable[[], Message | bytes]
    """Gives the message, or the bytes that are none."""
    held: int = 0
    """How many bytes are kept in memory for it."""

    @classmethod
    def of(cls, entry: Entry) -> Said:
        """Make it of an entry, which is kept."""
        content = entry.junk if entry.message is None else entry.message
        return cls(
            number=entry.number,
            time_ns=entry.time_ns,
            direction=entry.direction,
            command=JUNK if entry.message is None else entry.command,
            content=lambda: content,
            held=len(entry.raw),
        )

    def summary(self) -> str:
        """Say in a few words what it holds."""
        content = self.content()
        if isinstance(content, bytes):
            return f"{len(content):,} bytes"
        return content.summary() or (f"! {printable(content.error)}" if content.error else "")


def plain(content: Message | bytes, ignored: Ignored) -> dict[str, Any]:
    """Return what is compared of a message: its fields, or its bytes if it cannot be read."""
    if isinstance(content, bytes):
        return {"bytes": content.hex()}
    record = content.record
    fields: dict[str, Any] = {}
    if record is None:
        fields["payload"] = content.payload.hex()
    else:
        fields |= ignored.without(content.command, record.to_dict())
        if record.trailing:
            fields["trailing"] = record.trailing.hex()
    if content.error is not None:
        fields["error"] = content.error
    return fields


def meaning_of(content: Message | bytes, ignored: Ignored) -> bytes:
    """Return a digest that two messages share if nothing differs that is looked at."""
    if isinstance(content, bytes):
        return sha256(content).digest()
    if not ignored.is_partly(content.command):  # nothing has to be decoded
        digest = sha256(content.payload)
        if content.frame_error is not None:
            digest.update(content.frame_error.encode())
        return digest.digest()
    return sha256(msgspec.json.encode(plain(content, ignored))).digest()


def items_of(content: Message | bytes) -> list[tuple[int, bytes]] | None:
    """Return the things of a list, by number and hash; None if it cannot be read as one."""
    if isinstance(content, bytes) or content.command not in LISTS:
        return None
    record: Any = content.record
    if record is None or record.trailing or content.error is not None:
        return None
    return [(each.type, each.hash) for each in record.inventory]


def name_of(content: Message | bytes) -> bytes | None:
    """Return the hash of the thing that a message carries; None if it carries none."""
    if isinstance(content, bytes) or content.record is None:
        return None
    name = _NAMES.get(content.command)
    return None if name is None else name(content.record)
