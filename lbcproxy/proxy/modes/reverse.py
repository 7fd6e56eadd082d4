"""`reverse:HOST:PORT@[HOST:]PORT`: the nodes talk to each other, we watch."""

from lbcproxy.proxy.relay import Relay

__all__ = ["CHANGES", "HELP", "KIND", "UPSTREAM", "make"]

KIND = "reverse"
HELP = "the nodes talk to each other, we watch"
UPSTREAM = True
CHANGES = False
make = Relay
