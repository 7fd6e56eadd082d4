"""What passes between two nodes, and what is known of them. No I/O; time is handed in."""

from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.entry import UNKNOWN_SIZE, Entry, Passage, RunEntries
from lbcproxy.session.message import Message
from lbcproxy.session.node_state import Side, SideStatistics, Stage
from lbcproxy.session.observer import Lost, Observer, SessionFacts, SessionSummary
from lbcproxy.session.session import Session

__all__ = [
    "UNKNOWN_SIZE",
    "Direction",
    "End",
    "EndCause",
    "Entry",
    "Lost",
    "Message",
    "Observer",
    "Passage",
    "RunEntries",
    "Session",
    "SessionFacts",
    "SessionSummary",
    "Side",
    "SideStatistics",
    "Stage",
]
