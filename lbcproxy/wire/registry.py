"""The record of each command.

The records of `lbcproxy.wire.messages` are found by themselves; `register` adds a user's own.
"""

from __future__ import annotations

import functools

from lbcproxy.discover import entries
from lbcproxy.wire.record import MessageRecord

__all__ = ["OPAQUE", "commands", "record_of", "register"]

OPAQUE = {
    "feature": "BIP434",
    "disabletx": "BIP338",
    "reqrecon": "BIP330",
    "sketch": "BIP330",
    "reqsketchext": "BIP330",
    "reconcildiff": "BIP330",
    "sendpackages": "BIP331",
    "ancpkginfo": "BIP331",
    "getpkgtxns": "BIP331",
    "pkgtxns": "BIP331",
    "mwebheader": "Litecoin, LIP6",
    "mwebleafset": "Litecoin, LIP6",
    "getmwebutxos": "Litecoin, LIP6",
    "mwebutxos": "Litecoin, LIP6",
    "getutxos": "BIP64",
    "utxos": "BIP64",
    "checkorder": "before 2010",
    "submitorder": "before 2010",
    "reply": "before 2010",
}
"""Commands that have no record, with where they are described. They are forwarded unread."""


@functools.cache
def _records() -> dict[str, type[MessageRecord]]:
    found: dict[str, type[MessageRecord]] = {}
    for module in entries("lbcproxy.wire.messages"):
        for thing in vars(module).values():
            if _is_message(thing) and thing.__module__ == module.__name__:
                _add(found, thing)
    return found


def _is_message(thing: object) -> bool:
    return (
        isinstance(thing, type) and issubclass(thing, MessageRecord) and hasattr(thing, "command")
    )


def _add(records: dict[str, type[MessageRecord]], record: type[MessageRecord]) -> None:
    known = records.setdefault(record.command, record)
    if known is not record:
        raise ValueError(f"{record.command!r} is already {known.__module__}.{known.__name__}")


def register(record: type[MessageRecord]) -> type[MessageRecord]:
    """Register a record for a command that has none; can be used as a decorator.

    Args:
        record: The record class; its `command` names the command.

    Returns:
        The same class.

    Raises:
        ValueError: If the command has another record.
    """
    _add(_records(), record)
    return record


def record_of(command: str) -> type[MessageRecord] | None:
    """Return the record class of a command, or None if it has none."""
    return _records().get(command)


def commands() -> tuple[str, ...]:
    """Return the commands that have a record, sorted."""
    return tuple(sorted(_records()))
