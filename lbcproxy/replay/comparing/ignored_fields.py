"""What differs between conversations without significance, in one table.

Fields are named by command and path in `to_dict`, without list indexes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeAlias

from lbcproxy.errors import LbcproxyError
from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.wire.registry import OPAQUE, commands, record_of

__all__ = ["HEIGHT_FIELDS", "TIMING_COMMANDS", "VOLATILE_FIELDS", "BadIgnore", "IgnoredFields"]

VOLATILE_FIELDS: dict[str, tuple[str, ...]] = {
    "version": ("nonce", "timestamp", "addr_recv", "addr_from"),
    "ping": ("nonce",),
    "pong": ("nonce",),
    "addr": ("addresses",),
    "addrv2": ("addresses",),
    "cmpctblock": ("nonce", "short_ids"),  # the ids are made with the nonce
    "sendtxrcncl": ("salt",),
}
"""Fields that are random, or depend on the time or on addresses."""

TIMING_COMMANDS = frozenset({"ping", "addr", "addrv2"})
"""Commands whose number depends on timing, so there may be more or fewer of them."""

HEIGHT_FIELDS = ("version.start_height",)
"""Fields that depend on the length of a node's chain."""

Path: TypeAlias = tuple[str, ...]


class BadIgnore(LbcproxyError):
    """A command or field to ignore does not exist; the text lists those that do."""

    exit_code = 2


class IgnoredFields:
    """The fields and commands that are not compared: those of the table, and others.

    Args:
        more: Further ones, as COMMAND or COMMAND.FIELD.
        heights: Whether the nodes' heights are ignored too.

    Raises:
        BadIgnore: For a command or a field that does not exist.
    """

    def __init__(self, more: Iterable[str] = (), *, heights: bool = False) -> None:
        self._whole: set[str] = set()
        self._paths: dict[str, set[Path]] = {
            command: {(name,) for name in names} for command, names in VOLATILE_FIELDS.items()
        }
        for text in (*more, *(HEIGHT_FIELDS if heights else ())):
            self._add(text)

    def _add(self, text: str) -> None:
        command, _, path = text.partition(".")
        known = {*commands(), *OPAQUE}
        if command not in known:
            near = difflib.get_close_matches(command, known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise BadIgnore(f"{text!r}: there is no command {command!r}{meant}")
        if not path:
            self._whole.add(command)
            return
        record = record_of(command)
        names = [] if record is None else [*record.__struct_fields__]
        names = [name for name in names if name != "trailing"]
        if path.partition(".")[0].removesuffix("_hex") not in names:
            there = ", ".join(names) or "none"
            raise BadIgnore(f"{text!r}: {command} has no such field; there are {there}")
        self._paths.setdefault(command, set()).add(tuple(path.split(".")))

    def is_whole(self, command: str) -> bool:
        """Return whether messages of a command are ignored entirely."""
        return command in self._whole

    def is_partly(self, command: str) -> bool:
        """Return whether some fields of a command are ignored."""
        return command in self._paths

    def without(self, command: str, fields: JsonObject) -> JsonObject:
        """Return the fields of a message that are compared."""
        paths = self._paths.get(command)
        return fields if not paths else _without(fields, paths)


def _without(value: JsonValue, paths: set[Path]) -> JsonValue:
    if isinstance(value, list):
        return [_without(each, paths) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        plain = name.removesuffix("_hex")  # a string appears twice, as text and in hexadecimal
        if (name,) in paths or ((plain,) in paths and plain in value):
            continue
        deeper = {path[1:] for path in paths if len(path) > 1 and path[0] == name}
        kept[name] = _without(inner, deeper) if deeper else inner
    return kept
