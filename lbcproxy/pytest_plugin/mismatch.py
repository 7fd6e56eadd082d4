"""Describes a request without a recorded response, and the most similar recorded requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from lbcproxy.replay import Conversation, IgnoredFields, Turn
from lbcproxy.replay.as_server.answers import Answers
from lbcproxy.replay.comparing.fields import ABSENT, FieldDifference, differing
from lbcproxy.replay.comparing.normalize import items_of, plain
from lbcproxy.session import Message
from lbcproxy.text import printable
from lbcproxy.wire.hashes import display
from lbcproxy.wire.messages.inventory import type_name

__all__ = ["Played", "describe", "field_lines"]

MAX_REQUESTS = 5
MAX_LOOKED_AT = 200
MAX_NEAR = 3
MAX_FIELDS = 6
WIDE = 120


class Played(NamedTuple):
    """The capture that is replayed."""

    path: Path
    mode: str
    hint: str
    """How to record the response."""


class _Near(NamedTuple):
    weight: int
    turn: Turn
    message: Message
    fields: Sequence[FieldDifference]


def describe(played: Played, questions: Sequence[tuple[Message, Answers]]) -> str:
    """Return a description of each request, with the most similar recorded ones."""
    first, *more = questions[:MAX_REQUESTS]
    lines = [_head(first[0]), f"capture: {played.path} (record mode {played.mode})"]
    lines += _recorded(*first)
    for question, answers in more:
        lines += ["", _head(question), *_recorded(question, answers)]
    if len(questions) > MAX_REQUESTS:
        lines += ["", f"and {len(questions) - MAX_REQUESTS:,} more"]
    return "\n".join([*lines, "", played.hint])


def field_lines(fields: Sequence[FieldDifference], names: tuple[str, str]) -> Iterator[str]:
    """Yield the fields with their two values below each other."""
    shown = fields[:MAX_FIELDS]
    wide = max((len(each.path) for each in shown), default=0)
    wide_name = max(map(len, names))
    for each in shown:
        if each.more:
            yield f"{each.path:<{wide}}  {each.more:,} more differ"
            continue
        yield f"{each.path:<{wide}}  {names[0]:<{wide_name}}  {each.recorded}"
        yield f"{'':<{wide}}  {names[1]:<{wide_name}}  {each.live}"
    if len(fields) > MAX_FIELDS:
        yield f"{len(fields) - MAX_FIELDS:,} more fields differ"


def _head(question: Message) -> str:
    """Return the line that pytest shows in its summary."""
    return f"no recorded answer: {printable(question.command)} {_summary(question)}".rstrip()


def _recorded(question: Message, answers: Answers) -> Iterator[str]:
    name = printable(question.command)
    recorded = answers.requests.get(question.command, [])
    if not recorded:
        others = ", ".join(f"{command} {len(turns)}" for command, turns in answers.requests.items())
        yield f"no {name} was recorded, only: {others or 'nothing'}"
        return
    near = _nearest(question, answers.conversation, recorded)
    yield f"nearest recorded {name} (of {len(recorded):,}):"
    for number, each in enumerate(near, 1):
        yield f"  {number}. message {each.turn.number:,}  {_summary(each.message)}".rstrip()
        if not each.fields:
            yield "     the same request, which had no answer"
        for line in field_lines(each.fields, ("recorded", "requested")):
            yield f"     {line}"


def _summary(message: Message) -> str:
    summary = message.summary()
    return summary if len(summary) <= WIDE else f"{summary[:WIDE]}…"


def _things(recorded: Message, asked: Message) -> Sequence[FieldDifference]:
    """Return the differences between two lists of objects; empty for other messages."""
    sides = items_of(recorded), items_of(asked)
    return [
        FieldDifference(f"inventory[{index}]", _thing(one), _thing(other))
        for index, (one, other) in enumerate(zip_longest(*(side or () for side in sides)))
        if one != other
    ]


def _thing(thing: tuple[int, bytes] | None) -> str:
    return ABSENT if thing is None else f"{type_name(thing[0])} {display(thing[1])}"


def _nearest(
    question: Message, conversation: Conversation, recorded: Sequence[Turn]
) -> Sequence[_Near]:
    ignored = IgnoredFields()
    asked = plain(question, ignored)
    found = []
    for turn in recorded[-MAX_LOOKED_AT:]:
        message = conversation.message(turn)
        fields = list(_things(message, question) or differing(plain(message, ignored), asked))
        weight = sum(each.more or 1 for each in fields)
        found.append(_Near(weight, turn, message, fields))
    found.sort(key=lambda each: (each.weight, each.turn.position))
    return found[:MAX_NEAR]
