"""A compiled filter, which is called with entries."""

from __future__ import annotations

import warnings

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.filters.compiler import Compiler
from lbcproxy.filters.expressions import Commands, Condition
from lbcproxy.filters.fields import FilterContext
from lbcproxy.filters.parser import parse_tree
from lbcproxy.networks import Network
from lbcproxy.session import Entry, Message, SessionInfo

__all__ = ["Filter", "parse"]


class Filter:
    """A filter; `parse` makes one.

    It can be called with any entry, any number of times and in any thread.
    """

    __slots__ = ("_is_true", "_variables", "commands", "needs_record", "text")

    meets = DeprecatedAttribute("matches")

    def __init__(
        self, text: str, condition: Condition, *, needs_record: bool, variables: int
    ) -> None:
        self.text = text
        self.commands: Commands = condition.commands
        """The commands that it can match; None if it can match any."""
        self.needs_record = needs_record
        """Whether it needs the decoded payload: a field, or the error."""
        self._is_true = condition.is_true
        self._variables = variables

    def __repr__(self) -> str:
        return f"<Filter {self.text}>"

    def __call__(
        self, entry: Entry, info: SessionInfo | None = None, *, facts: SessionInfo | None = None
    ) -> bool:
        """Return whether the filter matches an entry. It never raises, whatever a node has sent.

        Args:
            entry: The entry.
            info: Its session; without it `client`, `upstream`, `listen` and `transport` are absent.
            facts: The old name of `info`.
        """
        if facts is not None:
            text = "Filter: the argument facts is now info"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            info = facts
        try:
            return self._is_true(FilterContext(entry, info, self._variables))
        except Exception:  # from a record's own code: a filter must not stop traffic
            return False

    def matches(self, message: Message, session: int, info: SessionInfo) -> bool:
        """Return whether the filter matches a message that is not an entry yet.

        The message has no number, time and verdict.
        """
        direction = message.direction
        entry = Entry(number=0, time_ns=0, session=session, direction=direction, message=message)
        return self(entry, info)


def parse(text: str, network: Network | None = None) -> Filter:
    """Compile a filter.

    Args:
        text: The filter, in the language of docs/filters.md.
        network: The network of all entries, if they are of one: a field that its chain does not
            have is then an error.

    Raises:
        BadFilter: The filter is wrong; the message points at the place.
    """
    tree = parse_tree(text)
    compiler = Compiler(text, network)
    condition = compiler.condition(tree)
    return Filter(text, condition, needs_record=compiler.decodes, variables=compiler.variables)
