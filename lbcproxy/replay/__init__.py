"""A capture played again: as the node, as the client, as both, or through plugins alone."""

from lbcproxy.replay.as_client.client import ReplayClient, ReplayFailed
from lbcproxy.replay.as_client.pace import CAUSAL, STEP, Pace, parse_pace
from lbcproxy.replay.as_server.cursor import Account
from lbcproxy.replay.as_server.server import BadPolicy, Policy, ReplayServer
from lbcproxy.replay.comparing.compare import Comparison
from lbcproxy.replay.comparing.diff import Diff
from lbcproxy.replay.comparing.difference import Difference, Report
from lbcproxy.replay.comparing.ignored_fields import BadIgnore, Ignored
from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player

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
