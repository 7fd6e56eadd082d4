"""The endpoint: a connection to one node."""

from lbcproxy.peer.peer import Peer, PeerConfig, PeerListener
from lbcproxy.peer.policy import Policy

__all__ = ["Peer", "PeerConfig", "PeerListener", "Policy"]
