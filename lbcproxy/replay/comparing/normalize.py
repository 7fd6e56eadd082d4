"""The content of a message in a form that can be compared between conversations."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec

from lbcproxy.json_types import JsonObject
from lbcproxy.replay.comparing.ignored_fields import IgnoredFields
from lbcproxy.replay.conversation import DecodedRecord
from lbcproxy.session import Direction, Entry, Message
from lbcproxy.text import printable

__all__ = ["JUNK", "LISTS", "NAMED", "ComparedMessage", "digest_of", "items_of", "name_of", "plain"]

JUNK = "(junk)"
"""The command of bytes that are not a message."""

LISTS = frozenset({"inv", "getdata", "notfound"})
"""Lists of objects. How they are split into messages is irrelevant: objects are matched singly."""

_NAMES: dict[str, Callable[[DecodedRecord], bytes]] = {
    "block": lambda record: record.header.hash,
    "merkleblock": lambda record: record.header.hash,
    "cmpctblock": lambda record: record.header.hash,
    "blocktxn": lambda record: record.block_hash,
    "tx": lambda record: record.txid,
    "cfilter": lambda record: record.block_hash,
}
NAMED = frozenset(_NAMES)
"""Commands with an object that has a hash: another hash is another message, not a changed one."""


class ComparedMessage(msgspec.Struct, frozen=True):
    """A message of a conversation that is compared."""

    number: int
    """Its number in its capture."""
    time_ns: int
    direction: Direction
    command: str
    content: Callable[[], Message | bytes]
    """Returns the message, or the bytes that are not one."""
    memory: int = 0
    """Bytes that are kept in memory for it."""

    @classmethod
    def of(cls, entry: Entry) -> ComparedMessage:
        """Return the message of an entry, which is kept in memory."""
        content = entry.junk if entry.message is None else entry.message
        return cls(
            number=entry.number,
            time_ns=entry.time_ns,
            direction=entry.direction,
            command=JUNK if entry.message is None else entry.command,
            content=lambda: content,
            memory=len(entry.raw),
        )

    def summary(self) -> str:
        """Return a summary of its content."""
        content = self.content()
        if isinstance(content, bytes):
            return f"{len(content):,} bytes"
        return content.summary() or (f"! {printable(content.error)}" if content.error else "")


def plain(content: Message | bytes, ignored: IgnoredFields) -> JsonObject:
    """Return what is compared of a message: its fields, or its bytes if it cannot be decoded."""
    if isinstance(content, bytes):
        return {"bytes": content.hex()}
    record = content.record
    fields: JsonObject = {}
    if record is None:
        fields["payload"] = content.payload.hex()
    else:
        fields |= ignored.without(content.command, record.to_dict())
        if record.trailing:
            fields["trailing"] = record.trailing.hex()
    if content.error is not None:
        fields["error"] = content.error
    return fields


def digest_of(content: Message | bytes, ignored: IgnoredFields) -> bytes:
    """Return a digest that is equal for messages without a difference that is compared."""
    if isinstance(content, bytes):
        return sha256(content).digest()
    if not ignored.is_partly(content.command):  # nothing has to be decoded
        digest = sha256(content.payload)
        if content.frame_error is not None:
            digest.update(content.frame_error.encode())
        return digest.digest()
    return sha256(msgspec.json.encode(plain(content, ignored))).digest()


def items_of(content: Message | bytes) -> list[tuple[int, bytes]] | None:
    """Return the objects of a list by type and hash; None if it cannot be decoded as a list."""
    if isinstance(content, bytes) or content.command not in LISTS:
        return None
    record: DecodedRecord = content.record
    if record is None or record.trailing or content.error is not None:
        return None
    return [(each.type, each.hash) for each in record.inventory]


def name_of(content: Message | bytes) -> bytes | None:
    """Return the hash of a message's object; None if it has none."""
    if isinstance(content, bytes) or content.record is None:
        return None
    name = _NAMES.get(content.command)
    return None if name is None else name(content.record)
