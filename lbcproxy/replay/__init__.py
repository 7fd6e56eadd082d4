"""A capture played again: as the node, as the client, as both, or through plugins alone."""

from lbcproxy.replay.conversation import Conversation, NoConversation, Turn, load
from lbcproxy.replay.offline import offline
from lbcproxy.replay.player import Play, Player

__all__ = ["Conversation", "NoConversation", "Play", "Player", "Turn", "load", "offline"]
