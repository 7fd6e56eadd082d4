"""What of a session is recorded where a filter says what is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.filters import Filter
from lbcproxy.session import Delivery, SessionInfo

__all__ = ["matching"]


def matching(
    wanted: Filter, facts: SessionInfo, deliveries: Sequence[Delivery]
) -> Sequence[Delivery]:
    """Return what a filter matches; of messages that passed together each by itself."""
    kept = []
    for delivery in deliveries:
        if delivery.run is None:
            if delivery.unread or any(wanted(entry, facts) for entry in delivery.entries):
                kept.append(delivery)
        elif wanted.commands is None or not wanted.commands.isdisjoint(
            delivery.run.frames.commands
        ):
            found = (entry for entry in delivery.entries if wanted(entry, facts))
            kept += [Delivery(entry.raw, (entry,)) for entry in found]
    return kept
