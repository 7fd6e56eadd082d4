"""A filter that cannot be used, and the place in it that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from lbcproxy.errors import LbcproxyError
from lbcproxy.text import printable

__all__ = ["BadFilter", "meant"]

SHOWN = 70
"""Characters of a filter around the place."""


class BadFilter(LbcproxyError):
    """A filter that cannot be used; the text says what is wrong and points at the place.

    `offset` is the place in characters from the beginning of `text`, the filter.
    """

    exit_code = 2

    def __init__(self, what: str, text: str, offset: int, hint: str = "") -> None:
        self.what = what
        self.text = text
        self.offset = min(max(offset, 0), len(text))
        self.hint = hint
        start = max(0, self.offset - SHOWN // 2)
        before = ("..." if start else "") + printable(text[start : self.offset])
        behind = printable(text[self.offset : start + SHOWN])
        more = "..." if len(text) > start + SHOWN else ""
        super().__init__(
            f"in the filter: {what}\n    {before}{behind}{more}\n    {' ' * len(before)}^"
        )


def meant(name: str, known: Iterable[str]) -> str:
    """Ask whether a known name was meant; the empty string if none is near."""
    near = get_close_matches(name, list(known), n=1) or get_close_matches(
        name.lower(), list(known), n=1
    )
    return f"; did you mean {near[0]}?" if near else ""
