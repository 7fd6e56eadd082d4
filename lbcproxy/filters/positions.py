"""Where in a filter something is wrong."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar

from lbcproxy.filters.compare import Nonsense
from lbcproxy.filters.errors import BadFilter
from lbcproxy.filters.parser import place_of

__all__ = ["Places"]

T = TypeVar("T")


class Places:
    """Turns nodes of a filter's tree into places of its text, for errors."""

    def __init__(self, text: str) -> None:
        self.text = text

    def wrong(self, node: ast.AST, what: str, hint: str = "") -> BadFilter:
        """Give an error that points at a node."""
        return self.wrong_at(place_of(node, self.text), what, hint)

    def wrong_at(self, place: int, what: str, hint: str = "") -> BadFilter:
        """Give an error that points at a place."""
        return BadFilter(what, self.text, place, hint)

    def sensible(self, node: ast.AST, make: Callable[..., T], *arguments: Any) -> T:
        """Make a part; where that makes no sense, raise an error that points at a node."""
        try:
            return make(*arguments)
        except Nonsense as error:
            # Inside a text, whose first character stands behind a quote.
            place = place_of(node, self.text) + (0 if error.place is None else 1 + error.place)
            raise self.wrong_at(place, str(error), error.hint) from None

    def end(self, owner: ast.expr) -> int:
        """Give the place of the name behind the dot that follows a node."""
        end = ast.Constant(None, col_offset=getattr(owner, "end_col_offset", 0))
        place = place_of(end, self.text)
        while self.text[place : place + 1] in (" ", ".", ")"):
            place += 1
        return place
