"""A capture played again: both of its sides through a running proxy, or through plugins alone."""

from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player

__all__ = ["Play", "Player", "offline"]
