"""A capture played again: both of its sides through a running proxy, or through plugins alone."""

from lbcproxy.replay.compare import Comparison
from lbcproxy.replay.diff import Diff
from lbcproxy.replay.difference import Difference, Report
from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player
from lbcproxy.replay.volatile import BadIgnore, Ignored

__all__ = [
    "BadIgnore",
    "Comparison",
    "Diff",
    "Difference",
    "Ignored",
    "Play",
    "Player",
    "Report",
    "offline",
]
