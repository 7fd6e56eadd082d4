"""A plain forward with Twisted: bytes as they come, back-pressure, TCP_NODELAY, and no more.

`python twisted_forward.py LISTEN UPSTREAM`, ports of 127.0.0.1. What Twisted itself costs.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet import reactor as the_reactor  # noqa: TID251  # a program of its own
from twisted.internet.protocol import ClientFactory, Factory, Protocol

reactor = cast("Any", the_reactor)


class Leg(Protocol):
    """One of two connections; what one receives the other sends."""

    transport: Any
    other: Leg

    def join(self, other: Leg) -> None:
        """Pass all on to the other from now on, and stop reading while it cannot take more."""
        self.other, other.other = other, self
        for one, two in ((self, other), (other, self)):
            one.transport.setTcpNoDelay(True)
            two.transport.registerProducer(one.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        self.other.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        """Close the other leg too."""
        if hasattr(self, "other"):
            self.other.transport.unregisterProducer()
            self.other.transport.loseConnection()


class Upstream(Leg):
    """The leg that we dial."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def connectionMade(self) -> None:
        """Let bytes pass."""
        self.client.join(self)
        self.client.transport.resumeProducing()


class Client(Leg):
    """The leg of the client."""

    def connectionMade(self) -> None:
        """Read nothing before the upstream is there."""
        self.transport.pauseProducing()
        reactor.connectTCP("127.0.0.1", int(sys.argv[2]), Dial(self))


class Dial(ClientFactory):
    """Makes the upstream leg of a client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def buildProtocol(self, addr: object) -> Protocol:
        """Give it."""
        return Upstream(self.client)


if __name__ == "__main__":
    reactor.listenTCP(
        int(sys.argv[1]), Factory.forProtocol(Client), backlog=1024, interface="127.0.0.1"
    )
    reactor.run()
