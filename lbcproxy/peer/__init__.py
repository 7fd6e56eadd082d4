"""The endpoint: a connection to one node."""

from lbcproxy.peer.caches import NonceCache
from lbcproxy.peer.config import PeerConfig, Policy, StallMode, Timeouts
from lbcproxy.peer.peer import Peer
from lbcproxy.peer.shell import PeerClosed, PeerOwner
from lbcproxy.peer.statistics import PeerStatistics

__all__ = [
    "NonceCache",
    "Peer",
    "PeerClosed",
    "PeerConfig",
    "PeerOwner",
    "PeerStatistics",
    "Policy",
    "StallMode",
    "Timeouts",
]
