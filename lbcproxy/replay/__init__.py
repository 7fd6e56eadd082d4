"""A capture played again: as the node, as the client, as both, or through plugins alone."""

from lbcproxy.replay.compare import Comparison
from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.diff import Diff
from lbcproxy.replay.difference import Difference, Report
from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player
from lbcproxy.replay.volatile import BadIgnore, Ignored

__all__ = [
    "BadIgnore",
    "Comparison",
    "Conversation",
    "Diff",
    "Difference",
    "Ignored",
    "NoConversation",
    "Play",
    "Player",
    "Report",
    "Turn",
    "load",
    "offline",
]
