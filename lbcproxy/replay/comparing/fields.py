"""Two values of the same kind side by side: in which fields they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from lbcproxy.text import printable

__all__ = ["ABSENT", "FieldDifference", "differing", "shown"]

WIDTH = 64
"""Characters that are shown of a long value: a hash is shown whole."""
BEFORE = 16
"""Of them, before the first difference."""
ABSENT = "-"
NAMES = ("hash", "txid", "type")
"""Fields by which a whole record is called, the first that it has."""


class FieldDifference(msgspec.Struct, frozen=True):
    """One field that differs: its path, and what it is on either side, cut if it is long."""

    path: str
    recorded: str = ""
    live: str = ""
    more: int = 0
    """Entries of a list that differ besides the one that is shown; then nothing else is said."""


def differing(one: Any, other: Any, path: str = "") -> Iterator[FieldDifference]:
    """Return the fields in which two plain values differ, in the order of the fields.

    Of a list the first element that differs is looked into; how many more do is one line.
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
    one: dict[str, Any], other: dict[str, Any], name: str, path: str
) -> Iterator[FieldDifference]:
    if name not in one:
        yield FieldDifference(path, ABSENT, shown(other[name])[0])
    elif name not in other:
        yield FieldDifference(path, shown(one[name])[0], ABSENT)
    else:
        yield from differing(one[name], other[name], path)


def _said_already(name: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a field is a text's twin in hexadecimal, and the text itself says what differs."""
    text = name.removesuffix("_hex")
    if text == name:
        return False
    pair = one.get(text), other.get(text)
    return None not in pair and pair[0] != pair[1]


def _of_lists(one: list[Any], other: list[Any], path: str) -> Iterator[FieldDifference]:
    if len(one) != len(other):
        yield FieldDifference(path, _counted(one), _counted(other))
    common = min(len(one), len(other))
    places = [place for place in range(common) if one[place] != other[place]]
    if places:
        first = places[0]
        yield from differing(one[first], other[first], f"{path}[{first}]")
        if len(places) > 1:
            yield FieldDifference(path, more=len(places) - 1)
    elif len(one) != len(other):
        [left] = [shown(each[common])[0] for each in (one, other) if len(each) > common]
        pair = (left, ABSENT) if len(one) > common else (ABSENT, left)
        yield FieldDifference(f"{path}[{common}]", *pair)


def _counted(values: list[Any]) -> str:
    return "1 entry" if len(values) == 1 else f"{len(values):,} entries"


def shown(*values: Any) -> tuple[str, ...]:
    """Write values for people, long ones cut around the first place in which they differ."""
    texts = [_text(value) for value in values]
    if max(map(len, texts)) <= WIDTH:
        return tuple(texts)
    place = 0
    if len(texts) > 1:
        shortest = min(texts, key=len)
        place = next(
            (at for at, letter in enumerate(shortest) if any(each[at] != letter for each in texts)),
            len(shortest),
        )
    begin = max(0, place - BEFORE) if place > WIDTH - BEFORE else 0
    return tuple(_cut(text, begin) for text in texts)


def _cut(text: str, begin: int) -> str:
    part = text[begin : begin + WIDTH]
    before = f"({begin:,} before) …" if begin else ""
    behind = f"… ({len(text):,} in all)" if begin + WIDTH < len(text) else ""
    return before + part + behind


def _text(value: Any) -> str:
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
