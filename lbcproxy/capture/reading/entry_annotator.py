"""Completes the entries of a capture with their numbers and with what the file says about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from lbcproxy.capture.reading.annotations import Annotations, form_of, trail_of
from lbcproxy.session import Delivery, Entry
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["EntryAnnotator"]


class EntryAnnotator:
    """Numbers entries from 1, and adds verdict, trail and comments to them."""

    def __init__(self) -> None:
        self._next_number = 1

    def annotated(
        self, delivery: Delivery, annotations: Annotations, comments: tuple[str, ...]
    ) -> Iterable[Delivery]:
        """Return a delivery with complete entries; `comments` are for its first entry."""
        is_plain = not comments and "verdict" not in annotations and "form" not in annotations
        if delivery.run is not None and is_plain:
            run = delivery.run.numbered(self._next_number)
            self._next_number += len(run)
            return (Delivery(delivery.raw, run, run=run),)
        return self._entry_by_entry(delivery, annotations, comments)

    def _entry_by_entry(
        self, delivery: Delivery, annotations: Annotations, comments: tuple[str, ...]
    ) -> Iterator[Delivery]:
        verdict = annotations.get("verdict")
        for index, each in enumerate(delivery.entries):
            entry = self._annotated_entry(each, annotations, () if index else comments)
            if verdict == EntryVerdict.INJECT:
                yield Delivery(b"", (entry,), entry.raw)
            else:
                yield Delivery(entry.raw, (entry,), b"" if verdict == EntryVerdict.DROP else None)

    def _annotated_entry(
        self, entry: Entry, annotations: Annotations, comments: tuple[str, ...]
    ) -> Entry:
        changes: dict[str, object] = {"number": self._next_number}
        self._next_number += 1
        if "verdict" in annotations:
            changes |= {"verdict": annotations["verdict"], "trail": trail_of(annotations)}
        if "form" in annotations:
            changes["form"] = form_of(annotations)
        if comments:
            changes["comments"] = comments
        return msgspec.structs.replace(entry, **changes)
