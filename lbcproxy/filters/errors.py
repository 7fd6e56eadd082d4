"""Errors of filters: what is wrong, and where in the text."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

from lbcproxy.errors import LbcproxyError
from lbcproxy.text import printable

__all__ = ["BadFilter", "ErrorLocator", "NotComparable", "did_you_mean", "offset_of"]

EXCERPT_LENGTH = 70
"""Characters of the filter that an error shows, around the offset."""


class BadFilter(LbcproxyError):
    """A filter that cannot be used; the message says what is wrong and points at the place.

    Attributes:
        what: What is wrong, without the excerpt.
        text: The filter.
        offset: The place, in characters from the beginning of `text`.
        hint: What might be written instead; may be empty.
    """

    exit_code = 2

    def __init__(self, what: str, text: str, offset: int, hint: str = "") -> None:
        self.what = what
        self.text = text
        self.offset = min(max(offset, 0), len(text))
        self.hint = hint
        start = max(0, self.offset - EXCERPT_LENGTH // 2)
        before = ("..." if start else "") + printable(text[start : self.offset])
        after = printable(text[self.offset : start + EXCERPT_LENGTH])
        more = "..." if len(text) > start + EXCERPT_LENGTH else ""
        super().__init__(
            f"in the filter: {what}\n    {before}{after}{more}\n    {' ' * len(before)}^"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question whether a similar name was meant; empty if none is similar."""
    near = get_close_matches(name, list(known), n=1) or get_close_matches(
        name.lower(), list(known), n=1
    )
    return f"; did you mean {near[0]}?" if near else ""


class NotComparable(Exception):
    """Values that cannot be compared or calculated with; the message says why.

    `offset` counts characters into a text between quotes, if that is where the error is.
    """

    def __init__(self, what: str, hint: str = "", offset: int | None = None) -> None:
        self.hint = hint
        self.offset = offset
        super().__init__(what)


def offset_of(node: ast.AST, text: str) -> int:
    """Return the offset of a node in characters; Python's parser counts bytes."""
    begin = len(text) - len(text.lstrip())
    encoded = text[begin:].encode()
    return begin + len(encoded[: getattr(node, "col_offset", 0)].decode("utf-8", "ignore"))


T = TypeVar("T")
P = ParamSpec("P")


class ErrorLocator:
    """Turns nodes of a filter's syntax tree into offsets in its text, for errors."""

    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, node: ast.AST, what: str, hint: str = "") -> BadFilter:
        """Return an error that points at a node."""
        return self.error_at(offset_of(node, self.text), what, hint)

    def error_at(self, offset: int, what: str, hint: str = "") -> BadFilter:
        """Return an error that points at an offset."""
        return BadFilter(what, self.text, offset, hint)

    def located(self, node: ast.AST, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function; turn NotComparable into an error that points at a node."""
        try:
            return make(*args, **kwargs)
        except NotComparable as error:
            # An offset into a text counts from after the quote.
            offset = offset_of(node, self.text) + (0 if error.offset is None else 1 + error.offset)
            raise self.error_at(offset, str(error), error.hint) from None

    def attribute_offset(self, owner: ast.expr) -> int:
        """Return the offset of the attribute name that follows a node and a dot."""
        end = ast.Constant(None, col_offset=getattr(owner, "end_col_offset", 0))
        offset = offset_of(end, self.text)
        while self.text[offset : offset + 1] in (" ", ".", ")"):
            offset += 1
        return offset
