"""What of a session is recorded where a filter says what is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.filters import Filter
from lbcproxy.session import Passage, SessionFacts

__all__ = ["matching"]


def matching(wanted: Filter, facts: SessionFacts, passages: Sequence[Passage]) -> Sequence[Passage]:
    """Return what a filter matches; of messages that passed together each by itself."""
    kept = []
    for passage in passages:
        if passage.run is None:
            if passage.unread or any(wanted(entry, facts) for entry in passage.entries):
                kept.append(passage)
        elif wanted.commands is None or not wanted.commands.isdisjoint(passage.run.frames.commands):
            found = (entry for entry in passage.entries if wanted(entry, facts))
            kept += [Passage(entry.raw, (entry,)) for entry in found]
    return kept
