"""`reverse:HOST:PORT@[HOST:]PORT`: the nodes talk to each other, and we observe."""

from lbcproxy.proxy.modes import ModeKind
from lbcproxy.proxy.relay import Relay

__all__ = ["MODE"]

MODE = ModeKind(
    name="reverse", help="connects each client to the node, and watches", upstream=True, make=Relay
)
