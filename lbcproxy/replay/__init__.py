"""A capture played again: so far both of its sides, through a running proxy."""

from lbcproxy.replay.player import Play, Player

__all__ = ["Play", "Player"]
