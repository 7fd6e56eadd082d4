"""Replays a capture: as the node, as the client, as both, or offline through plugins."""

from lbcproxy.deprecated import deprecated_names
from lbcproxy.replay.as_client.client import ReplayClient, ReplayFailed
from lbcproxy.replay.as_client.pace import CAUSAL, STEP, Pace, parse_pace
from lbcproxy.replay.as_server.cursor import ReplayStats
from lbcproxy.replay.as_server.server import BadPolicy, ReplayServer, UnansweredPolicy
from lbcproxy.replay.comparing.compare import Comparison
from lbcproxy.replay.comparing.diff import Diff
from lbcproxy.replay.comparing.difference import ComparisonReport, Difference
from lbcproxy.replay.comparing.ignored_fields import BadIgnore, IgnoredFields
from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player

__all__ = [
    "CAUSAL",
    "STEP",
    "BadIgnore",
    "BadPolicy",
    "Comparison",
    "ComparisonReport",
    "Conversation",
    "Diff",
    "Difference",
    "IgnoredFields",
    "NoConversation",
    "Pace",
    "Play",
    "Player",
    "ReplayClient",
    "ReplayFailed",
    "ReplayServer",
    "ReplayStats",
    "Turn",
    "UnansweredPolicy",
    "load",
    "offline",
    "parse_pace",
]

__getattr__ = deprecated_names(
    __name__,
    {
        "Account": "ReplayStats",
        "Ignored": "IgnoredFields",
        "Policy": "UnansweredPolicy",
        "Report": "ComparisonReport",
    },
)
