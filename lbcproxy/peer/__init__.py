"""The endpoint: a connection to one node."""

from lbcproxy.peer.caches import NonceCache
from lbcproxy.peer.config import PeerConfig, Policy, StallMode, Timeouts, Transport
from lbcproxy.peer.peer import Peer
from lbcproxy.peer.relay_peer import PeerOwner, RelayPeer
from lbcproxy.peer.shell import PeerClosed
from lbcproxy.peer.statistics import PeerStatistics

__all__ = [
    "NonceCache",
    "Peer",
    "PeerClosed",
    "PeerConfig",
    "PeerOwner",
    "PeerStatistics",
    "Policy",
    "RelayPeer",
    "StallMode",
    "Timeouts",
    "Transport",
]
