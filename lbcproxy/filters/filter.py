"""A filter: what a text says, asked of entries."""

from __future__ import annotations

from lbcproxy.filters.combinators import Commands, Test
from lbcproxy.filters.compiler import Reader
from lbcproxy.filters.names import Moment
from lbcproxy.filters.parser import read
from lbcproxy.networks import Network
from lbcproxy.session import Entry, Message, SessionInfo

__all__ = ["Filter", "parse"]


class Filter:
    """Says of an entry whether it is wanted. `parse` makes one.

    It may be asked of any entry, as often as one likes, in any thread.
    """

    __slots__ = ("_true", "_variables", "commands", "needs_record", "text")

    def __init__(self, text: str, test: Test, *, needs_record: bool, variables: int) -> None:
        self.text = text
        self.commands: Commands = test.commands
        """The commands it can match at all; None if it can match any."""
        self.needs_record = needs_record
        """Whether it asks for what only the payload tells: a field, or the error."""
        self._true = test.true
        self._variables = variables

    def __repr__(self) -> str:
        return f"<Filter {self.text}>"

    def __call__(self, entry: Entry, facts: SessionInfo | None = None) -> bool:
        """Whether an entry is wanted. Never raises, whatever a node has sent.

        Without the facts of its session, `client`, `upstream` and `listen` are absent.
        """
        try:
            return self._true(Moment(entry, facts, self._variables))
        except Exception:  # of a record's own code: traffic must not end for a question about it
            return False

    def matches(self, message: Message, session: int, facts: SessionInfo) -> bool:
        """Whether a message is wanted that is still on its way: it has no number and no verdict."""
        direction = message.direction
        entry = Entry(number=0, time_ns=0, session=session, direction=direction, message=message)
        return self(entry, facts)


def parse(text: str, network: Network | None = None) -> Filter:
    """Read a filter; raises BadFilter, which points at the place that is wrong.

    With a network, what its chain does not have is refused.
    """
    tree = read(text)
    reader = Reader(text, network)
    test = reader.test(tree)
    return Filter(text, test, needs_record=reader.decodes, variables=reader.variables)
