"""A capture played again: as the node, as the client, as both, or through plugins alone."""

from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.offline import offline
from lbcproxy.replay.place import Account
from lbcproxy.replay.player import Play, Player
from lbcproxy.replay.server import BadPolicy, Policy, ReplayServer

__all__ = [
    "Account",
    "BadPolicy",
    "Conversation",
    "NoConversation",
    "Play",
    "Player",
    "Policy",
    "ReplayServer",
    "Turn",
    "load",
    "offline",
]
