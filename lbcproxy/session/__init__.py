"""What passes between two nodes, and what is known of them. No I/O; time is handed in."""

from lbcproxy.deprecated import deprecated_names
from lbcproxy.session.direction import Direction
from lbcproxy.session.end import End, EndCause
from lbcproxy.session.entry import UNKNOWN_SIZE, Delivery, Entry, RunEntries
from lbcproxy.session.info import Lost, SessionInfo, SessionSummary
from lbcproxy.session.leg_transport import Damaged, Decoy, LegTransport, PacketForm, Transports
from lbcproxy.session.message import Message
from lbcproxy.session.node_state import NodeState, NodeStatistics, Stage
from lbcproxy.session.observer import EventRouter, Observer, SessionObserver
from lbcproxy.session.session import Session
from lbcproxy.session.verdict import EntryVerdict

__all__ = [
    "UNKNOWN_SIZE",
    "Damaged",
    "Decoy",
    "Delivery",
    "Direction",
    "End",
    "EndCause",
    "Entry",
    "EntryVerdict",
    "EventRouter",
    "LegTransport",
    "Lost",
    "Message",
    "NodeState",
    "NodeStatistics",
    "Observer",
    "PacketForm",
    "RunEntries",
    "Session",
    "SessionInfo",
    "SessionObserver",
    "SessionSummary",
    "Stage",
    "Transports",
]

__getattr__ = deprecated_names(
    __name__,
    {
        "Passage": "Delivery",
        "SessionFacts": "SessionInfo",
        "Side": "NodeState",
        "SideStatistics": "NodeStatistics",
    },
)
