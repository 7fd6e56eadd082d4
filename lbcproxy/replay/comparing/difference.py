"""Differences between two conversations, and the report of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.json_types import JsonObject
from lbcproxy.replay.comparing.fields import FieldDifference
from lbcproxy.session import Direction
from lbcproxy.text import iso_time, printable

__all__ = ["MAX_DIFFERENCES", "ComparisonReport", "Difference", "MessageLocation", "Paint"]

Paint = Callable[[str, str], str]
"""Colours a text by role: `arrow`, `command`, `kind`, `recorded`, `live`, `head`, `dim`."""

MAX_DIFFERENCES = 1_000
"""Maximum number of differences in a report; all are counted."""


class MessageLocation(msgspec.Struct, frozen=True):
    """A message of one side: its number in the capture, its time and its summary."""

    number: int
    time_ns: int
    summary: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between two conversations."""

    place = DeprecatedAttribute("position")

    kind: str
    """`different`, `missing` (only recorded), `extra` (only live), `late` or `closed`."""
    position: int
    """Number of messages before it in the session, on its side."""
    session: int
    """The session's number in the first capture."""
    direction: Direction | None = None
    command: str = ""
    recorded: MessageLocation | None = None
    live: MessageLocation | None = None
    fields: tuple[FieldDifference, ...] = ()
    words: str = ""
    """Additional text."""

    def to_dict(self) -> JsonObject:
        """Return the difference as a JSON object."""
        return {
            "kind": self.kind,
            "session": self.session,
            "direction": None if self.direction is None else self.direction.value,
            "command": self.command,
            "recorded": _where(self.recorded),
            "live": _where(self.live),
            "fields": [_field(each) for each in self.fields],
            "words": self.words,
        }


class ComparisonReport(msgspec.Struct, kw_only=True):
    """The result of a comparison of two conversations."""

    differences: tuple[Difference, ...]
    """In the order of the conversation; at most 1,000."""
    count: int
    """Number of all differences."""
    matched: int
    """Number of messages, and objects of lists, that both sides have."""
    recorded: int
    """Number of compared messages of the first side."""
    live: int
    """Number of compared messages of the second side."""
    names: tuple[str, str] = ("recorded", "live")
    """The names of the two sides."""
    notices: tuple[str, ...] = ()
    """Descriptions of what was not compared."""

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not self.count

    @property
    def exit_code(self) -> int:
        """The exit code of a program: 0, or 4 if there are differences."""
        return 4 if self.count else 0

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> JsonObject:
        """Return the report as a JSON object, whose keys are stable."""
        return {
            "same": self.same,
            "messages": {"recorded": self.recorded, "live": self.live},
            "difference_count": self.count,
            "differences": [each.to_dict() for each in self.differences],
            "notices": list(self.notices),
        }

    def lines(self, paint: Paint = lambda text, _: text, most: int = 20) -> Iterator[str]:
        """Yield the report as text: the result in one line, then the differences.

        Of those with the same kind, direction and command, the first is shown and the others are
        counted.
        """
        one, other = self.names
        counts = f"{one} {_counted(self.recorded)}, {other} {self.live:,}"
        if self.same:
            yield paint(f"no difference: {counts}", "head")
        else:
            what = "1 difference" if self.count == 1 else f"{self.count:,} differences"
            yield paint(f"{what}: {counts}", "head")
        for notice in self.notices:
            yield paint(f"note: {notice}", "dim")
        alike: dict[tuple[object, ...], list[Difference]] = {}
        for each in self.differences:
            key = (each.session, each.direction, each.command, each.kind)
            alike.setdefault(key, []).append(each)
        shown = list(alike.values())[:most]
        for number, group in enumerate(shown):
            yield ""
            yield from _lines(group[0], self.names, paint, first=number == 0 and self.count > 1)
            if len(group) > 1:
                yield paint(f"    and {len(group) - 1:,} more like this", "dim")
        if left := self.count - sum(map(len, shown)):
            yield ""
            yield paint(f"and {left:,} more", "dim")


def _lines(
    difference: Difference, names: tuple[str, str], paint: Paint, *, first: bool
) -> Iterator[str]:
    kind = {"missing": f"{names[0]} only", "extra": f"{names[1]} only"}.get(
        difference.kind, difference.kind
    )
    words = [paint("first:", "dim")] if first else []
    words.append(f"#{difference.session}")
    if difference.direction is not None:
        words.append(paint(difference.direction.arrow, f"arrow {difference.direction.value}"))
        words.append(paint(printable(difference.command) or "(empty)", "command"))
    words.append(paint(kind, f"kind {difference.kind}"))
    yield " ".join(words) + (f": {difference.words}" if difference.words else "")
    sides = (difference.recorded, "recorded"), (difference.live, "live")
    wide = max(map(len, names))
    for (where, side), name in zip(sides, names, strict=True):
        if where is not None:
            text = f"message {where.number:,} at {_clock(where.time_ns)}  {where.summary}"
            yield f"    {paint(f'{name:<{wide}}', side)}  {text.rstrip()}"
    paths = max((len(each.path) for each in difference.fields), default=0)
    for each in difference.fields:
        if each.more:
            entries = "entry differs" if each.more == 1 else "entries differ"
            yield f"        {each.path:<{paths}}  {each.more:,} more {entries}"
            continue
        values = (each.recorded, "recorded"), (each.live, "live")
        for (value, side), name, path in zip(values, names, (each.path, ""), strict=True):
            yield f"        {path:<{paths}}  {paint(f'{name:<{wide}}  {value}', side)}"


def _counted(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages:,} messages"


def _clock(time_ns: int) -> str:
    return iso_time(time_ns)[11:23]


def _where(where: MessageLocation | None) -> JsonObject | None:
    if where is None:
        return None
    return {
        "number": where.number,
        "time": iso_time(where.time_ns),
        "summary": where.summary,
    }


def _field(field: FieldDifference) -> JsonObject:
    if field.more:
        return {"path": field.path, "more": field.more}
    return {"path": field.path, "recorded": field.recorded, "live": field.live}
