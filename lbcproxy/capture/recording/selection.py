"""Which messages of a session are recorded when a filter selects them."""

from __future__ import annotations

from collections.abc import Sequence

from lbcproxy.filters import Filter
from lbcproxy.session import Delivery, SessionInfo

__all__ = ["select"]


def select(
    selection: Filter, info: SessionInfo, deliveries: Sequence[Delivery]
) -> Sequence[Delivery]:
    """Return the deliveries that a filter matches; messages that passed together are split."""
    selected = []
    for delivery in deliveries:
        if delivery.run is None:
            if delivery.unread or any(selection(entry, info) for entry in delivery.entries):
                selected.append(delivery)
        elif selection.commands is None or not selection.commands.isdisjoint(
            delivery.run.frames.commands
        ):
            found = (entry for entry in delivery.entries if selection(entry, info))
            selected += [Delivery(entry.raw, (entry,)) for entry in found]
    return selected
