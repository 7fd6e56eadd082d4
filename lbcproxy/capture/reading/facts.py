"""What a writer of ours says of a section, packet or session, read with care.

Anybody may have written a file: nothing of it need be as it should.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec

from lbcproxy import networks
from lbcproxy.capture.events import Header
from lbcproxy.capture.packet import Section
from lbcproxy.capture.writing.pcapng import SCHEMA
from lbcproxy.networks import Network
from lbcproxy.session import Direction

__all__ = [
    "Facts",
    "Position",
    "facts_in",
    "header_of",
    "network_in",
    "position_in",
    "trail_in",
    "version_in",
]

Facts: TypeAlias = Mapping[str, Any]
Position: TypeAlias = dict[Direction, int]

_HEADER_KEYS = ("schema", "network", "legs", "changes")

_TYPES: dict[str, type] = {
    **dict.fromkeys(("network", "legs", "leg", "upstream", "verdict"), str),
    **dict.fromkeys(("changes", "continued", "unrecorded"), bool),
    **dict.fromkeys(("session", "number", "missing"), int),
    **dict.fromkeys(("trail", "comments"), list),
    "position": dict,
}


def facts_in(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read what a writer of ours left in a packet or section; nothing of it may be as it should."""
    for text in texts:
        with suppress(msgspec.DecodeError, RecursionError):
            facts = msgspec.json.decode(text)
            if isinstance(facts, dict) and facts.get("schema") == SCHEMA:
                return {
                    key: value
                    for key, value in facts.items()
                    if isinstance(value, _TYPES.get(key, object))
                }
    return {}


def header_of(section: Section) -> Header:
    """Return what a section says of all that follows."""
    facts = facts_in(section.custom)
    return Header(
        network=facts.get("network"),
        legs="both" if facts.get("legs") == "both" else "client",
        changes=facts.get("changes", False),
        metadata={key: value for key, value in facts.items() if key not in _HEADER_KEYS},
        comments=section.comments,
    )


def version_in(facts: Facts) -> int | None:
    """Give the version that nodes had agreed on when their session was continued in this file."""
    version = facts.get("protocol_version")
    known = isinstance(version, int) and 0 <= version < 1 << 32
    return version if known and facts.get("continued") else None


def position_in(facts: Facts) -> Position:
    """Return how many bytes of each direction were before this file, of a leg that goes on."""
    found = dict.fromkeys(Direction, 0)
    for direction, place in facts.get("position", {}).items():
        if direction in found and isinstance(place, int) and 0 <= place < 1 << 63:
            found[Direction(direction)] = place
    return found


def network_in(facts: Facts) -> Network | None:
    """Give the network that the file says a session is of."""
    with suppress(KeyError):
        return networks.get(facts.get("network", ""))
    return None


def trail_in(facts: Facts) -> tuple[str, ...]:
    """Return who decided what of a message, in order."""
    return tuple(map(str, facts.get("trail", ())))
