"""The fields in which two values of the same type differ."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.text import printable

__all__ = ["ABSENT", "FieldDifference", "differing", "shown"]

WIDTH = 64
"""Maximum number of characters shown of a value; enough for a hash."""
BEFORE = 16
"""Characters shown before the first difference."""
ABSENT = "-"
NAMES = ("hash", "txid", "type")
"""Fields that identify a whole record; the first one that it has is shown."""


class FieldDifference(msgspec.Struct, frozen=True):
    """A field that differs: its path and its value on either side, shortened if it is long."""

    path: str
    recorded: str = ""
    live: str = ""
    more: int = 0
    """Number of further list entries that differ; then there are no values."""


def differing(one: JsonValue, other: JsonValue, path: str = "") -> Iterator[FieldDifference]:
    """Yield the fields in which two JSON values differ, in order.

    Of a list, the fields of the first entry that differs, and the number of further ones.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if not _said_already(name, one, other):
                inner = f"{path}.{name}" if path else name
                yield from _of_field(one, other, name, inner)
    elif isinstance(one, list) and isinstance(other, list):
        yield from _of_lists(one, other, path)
    elif one != other or type(one) is not type(other):
        recorded, live = shown(one, other)
        yield FieldDifference(path, recorded, live)


def _of_field(
    one: JsonObject, other: JsonObject, name: str, path: str
) -> Iterator[FieldDifference]:
    if name not in one:
        yield FieldDifference(path, ABSENT, shown(other[name])[0])
    elif name not in other:
        yield FieldDifference(path, shown(one[name])[0], ABSENT)
    else:
        yield from differing(one[name], other[name], path)


def _said_already(name: str, one: JsonObject, other: JsonObject) -> bool:
    """Return whether a field is the hexadecimal form of a text that already differs."""
    text = name.removesuffix("_hex")
    if text == name:
        return False
    pair = one.get(text), other.get(text)
    return None not in pair and pair[0] != pair[1]


def _of_lists(one: list[JsonValue], other: list[JsonValue], path: str) -> Iterator[FieldDifference]:
    if len(one) != len(other):
        yield FieldDifference(path, _counted(one), _counted(other))
    common = min(len(one), len(other))
    positions = [position for position in range(common) if one[position] != other[position]]
    if positions:
        first = positions[0]
        yield from differing(one[first], other[first], f"{path}[{first}]")
        if len(positions) > 1:
            yield FieldDifference(path, more=len(positions) - 1)
    elif len(one) != len(other):
        [left] = [shown(each[common])[0] for each in (one, other) if len(each) > common]
        pair = (left, ABSENT) if len(one) > common else (ABSENT, left)
        yield FieldDifference(f"{path}[{common}]", *pair)


def _counted(values: list[JsonValue]) -> str:
    return "1 entry" if len(values) == 1 else f"{len(values):,} entries"


def shown(*values: JsonValue) -> tuple[str, ...]:
    """Return values as text; long ones are cut around the first character that differs."""
    texts = [_text(value) for value in values]
    if max(map(len, texts)) <= WIDTH:
        return tuple(texts)
    position = 0
    if len(texts) > 1:
        shortest = min(texts, key=len)
        position = next(
            (at for at, letter in enumerate(shortest) if any(each[at] != letter for each in texts)),
            len(shortest),
        )
    begin = max(0, position - BEFORE) if position > WIDTH - BEFORE else 0
    return tuple(_cut(text, begin) for text in texts)


def _cut(text: str, begin: int) -> str:
    part = text[begin : begin + WIDTH]
    before = f"({begin:,} before) …" if begin else ""
    after = f"… ({len(text):,} in all)" if begin + WIDTH < len(text) else ""
    return before + part + after


def _text(value: JsonValue) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        name = next((name for name in NAMES if name in value), None)
        value = msgspec.json.encode(value).decode() if name is None else f"{name} {value[name]}"
    if isinstance(value, list):
        value = _counted(value)
    return printable(str(value))
