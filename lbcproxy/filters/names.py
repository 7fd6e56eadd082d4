"""What a filter can ask of any entry, and the moment in which it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from lbcproxy import networks
from lbcproxy.filters.types import (
    ABSENT,
    COMMAND,
    DIRECTION,
    NUMBER,
    TEXT,
    TIME,
    Kind,
    list_of,
)
from lbcproxy.networks import Network
from lbcproxy.session import Entry, SessionInfo

__all__ = ["NAMES", "Moment", "Name"]


class Moment:
    """One entry that a filter is asked about, with the variables of its loops."""

    __slots__ = ("entry", "facts", "variables")

    def __init__(self, entry: Entry, facts: SessionInfo | None, variables: int) -> None:
        self.entry = entry
        self.facts = facts
        self.variables: list[Any] = [None] * variables

    @property
    def network(self) -> Network | None:
        """The network whose addresses and claims are meant; None where that is not known."""
        message = self.entry.message
        try:
            return None if message is None else networks.get(message.codec.network.id)
        except KeyError:
            return None


class Name(msgspec.Struct, frozen=True):
    """Something every entry has."""

    kind: Kind
    get: Callable[[Moment], Any]
    words: str
    """What it is, for the documentation."""
    decodes: bool = False
    """Whether the payload must be read to know it."""


def _command(moment: Moment) -> Any:
    message = moment.entry.message
    return None if message is None else message.command


def _of_facts(name: str) -> Callable[[Moment], Any]:
    def get(moment: Moment) -> Any:
        value = ABSENT if moment.facts is None else getattr(moment.facts, name)
        return value if value is ABSENT or value is None else str(value)

    return get


def _network(moment: Moment) -> Any:
    message = moment.entry.message
    if message is not None:
        return message.codec.network.id
    return ABSENT if moment.facts is None else moment.facts.network


_SIZE = Name(NUMBER, lambda moment: moment.entry.length, "bytes of payload")

NAMES: dict[str, Name] = {
    "command": Name(COMMAND, _command, "as `inv`; null for bytes that are no message"),
    "direction": Name(
        DIRECTION, lambda moment: moment.entry.direction.value, "`to_upstream` or `to_client`"
    ),
    "session": Name(NUMBER, lambda moment: moment.entry.session, "the number behind `#` in a line"),
    "number": Name(NUMBER, lambda moment: moment.entry.number, "counted from 1 over all sessions"),
    "time": Name(
        TIME,
        lambda moment: moment.entry.time_ns,
        'when it arrived: compare with `"2026-11-23"` or `"2026-11-23T08:30:00Z"`, as exact as one '
        "likes; UTC, if no zone is said",
    ),
    "size": _SIZE,
    "length": msgspec.structs.replace(_SIZE, words="the same, as `-T ndjson` calls it"),
    "verdict": Name(TEXT, lambda moment: moment.entry.verdict, "what became of it: `pass`, ..."),
    "trail": Name(list_of(TEXT), lambda moment: moment.entry.trail, "who decided what, in order"),
    "error": Name(
        TEXT,
        lambda moment: moment.entry.error,
        "what is wrong, and where; null if nothing is",
        True,
    ),
    "network": Name(TEXT, _network, "as `lbry-mainnet`"),
    "client": Name(TEXT, _of_facts("client"), "who connected: HOST:PORT"),
    "upstream": Name(TEXT, _of_facts("upstream"), "where the session leads: HOST:PORT"),
    "listen": Name(TEXT, _of_facts("listen"), "where the client connected to: HOST:PORT"),
}
"""By name, in the order of the documentation."""
