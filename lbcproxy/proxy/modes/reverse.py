"""`reverse:HOST:PORT@[HOST:]PORT`: the nodes talk to each other, we watch."""

from lbcproxy.proxy.relay import Relay

__all__ = ["CHANGES", "KIND", "make"]

KIND = "reverse"
CHANGES = False
make = Relay
