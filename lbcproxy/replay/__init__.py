"""A capture played again: as the node, as the client, as both, or through plugins alone."""

from lbcproxy.replay.client import ReplayClient, ReplayFailed
from lbcproxy.replay.compare import Comparison
from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.diff import Diff
from lbcproxy.replay.difference import Difference, Report
from lbcproxy.replay.offline import offline
from lbcproxy.replay.pace import CAUSAL, STEP, Pace, parse_pace
from lbcproxy.replay.place import Account
from lbcproxy.replay.player import Play, Player
from lbcproxy.replay.server import BadPolicy, Policy, ReplayServer
from lbcproxy.replay.volatile import BadIgnore, Ignored

__all__ = [
    "CAUSAL",
    "STEP",
    "Account",
    "BadIgnore",
    "BadPolicy",
    "Comparison",
    "Conversation",
    "Diff",
    "Difference",
    "Ignored",
    "NoConversation",
    "Pace",
    "Play",
    "Player",
    "Policy",
    "ReplayClient",
    "ReplayFailed",
    "ReplayServer",
    "Report",
    "Turn",
    "load",
    "offline",
    "parse_pace",
]
