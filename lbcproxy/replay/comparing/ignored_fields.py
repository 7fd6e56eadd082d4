"""What differs from one conversation to the next without meaning anything, in one table.

Fields are named by command and the path of `to_dict`, without the indexes of lists.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeAlias

from lbcproxy.errors import LbcproxyError
from lbcproxy.wire.registry import OPAQUE, commands, record_of

__all__ = ["CHANCE", "HEIGHTS", "VOLATILE", "BadIgnore", "Ignored"]

VOLATILE: dict[str, tuple[str, ...]] = {
    "version": ("nonce", "timestamp", "addr_recv", "addr_from"),
    "ping": ("nonce",),
    "pong": ("nonce",),
    "addr": ("addresses",),
    "addrv2": ("addresses",),
    "cmpctblock": ("nonce", "short_ids"),  # the ids are made with the nonce
    "sendtxrcncl": ("salt",),
}
"""Fields that are random, or tell the time or who is near."""

CHANCE = frozenset({"ping", "addr", "addrv2"})
"""Commands of which there may be more or fewer: how often they come is a matter of time."""

HEIGHTS = ("version.start_height",)
"""What tells how long a node's chain is."""

Path: TypeAlias = tuple[str, ...]


class BadIgnore(LbcproxyError):
    """Something to be ignored does not exist; the text says what there is."""

    exit_code = 2


class Ignored:
    """What is not looked at: the table, and what somebody adds as COMMAND or COMMAND.FIELD.

    Raises BadIgnore for a command or a field that does not exist.
    """

    def __init__(self, more: Iterable[str] = (), *, heights: bool = False) -> None:
        self._whole: set[str] = set()
        self._paths: dict[str, set[Path]] = {
            command: {(name,) for name in names} for command, names in VOLATILE.items()
        }
        for text in (*more, *(HEIGHTS if heights else ())):
            self._add(text)

    def _add(self, text: str) -> None:
        command, _, path = text.partition(".")
        known = {*commands(), *OPAQUE}
        if command not in known:
            near = difflib.get_close_matches(command, known, 1)
            meant = f": is {near[0]} meant?" if near else ""
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
        """Whether messages of a command are not looked at at all."""
        return command in self._whole

    def is_partly(self, command: str) -> bool:
        """Whether some fields of a command are not looked at."""
        return command in self._paths

    def without(self, command: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a message that are looked at."""
        paths = self._paths.get(command)
        return fields if not paths else _without(fields, paths)


def _without(value: Any, paths: set[Path]) -> Any:
    if isinstance(value, list):
        return [_without(each, paths) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        plain = name.removesuffix("_hex")  # a string stands twice, as text and in hexadecimal
        if (name,) in paths or ((plain,) in paths and plain in value):
            continue
        deeper = {path[1:] for path in paths if len(path) > 1 and path[0] == name}
        kept[name] = _without(inner, deeper) if deeper else inner
    return kept
