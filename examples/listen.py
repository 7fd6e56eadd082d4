#!/usr/bin/env python3
"""Listen as a node that has three blocks, and send their headers on request.

Usage: python examples/listen.py NETWORK PORT

For instance `python examples/listen.py lbry-regtest 29246`; examples/headers.py asks for them.
Ctrl-C ends it. The blocks are made up: no real node would accept them.
"""

import sys
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import react

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.wire import Codec
from lbcproxy.wire.messages.headers import BlockHeader, GetHeaders, Headers

NODE_NETWORK = 1
MAX_PEERS = 20


def headers_after_the_first(network: Network, count: int) -> tuple[BlockHeader, ...]:
    """Return made-up headers, each of which refers to the one before it."""
    first = Codec(network).decode("headers", b"\1" + network.genesis + b"\0")
    assert isinstance(first, Headers)
    chain = [first.headers[0]]
    for _ in range(count):
        chain.append(msgspec.structs.replace(chain[-1], prev_block=chain[-1].hash))
    return tuple(chain[1:])


class Node(Factory):
    """Makes a peer for each connection, and has the callbacks of all of them."""

    def __init__(self, network: Network, reactor: Any) -> None:
        self.headers = headers_after_the_first(network, 3)
        self.reactor = reactor
        self.peers: set[Peer] = set()
        self.config = PeerConfig(
            network=network,
            user_agent_name="listen",
            user_agent_version="1",
            services=NODE_NETWORK,
            newest_block=lambda: (self.headers[-1].hash, len(self.headers)),
        )

    def buildProtocol(self, addr: IAddress | None) -> Peer | None:
        """Return the peer for a connection; None closes it, once there are too many."""
        if len(self.peers) >= MAX_PEERS:
            return None
        peer = Peer(self.config, inbound=True, clock=self.reactor, callbacks=self)
        self.peers.add(peer)
        return peer

    def on_ready(self, peer: Peer) -> None:
        """Print the node's user agent."""
        print(f"{peer}: {peer.snapshot().user_agent!r}", flush=True)

    def on_getheaders(self, peer: Peer, record: GetHeaders) -> None:
        """Send the headers."""
        peer.send(Headers(self.headers))

    def on_disconnected(self, peer: Peer, why: str) -> None:
        """Forget the peer."""
        self.peers.discard(peer)
        print(f"{peer}: {why}", flush=True)


async def main(reactor: Any, network_id: str, port: str) -> None:
    """Listen until Ctrl-C."""
    node = Node(networks.get(network_id), reactor)
    await TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1").listen(node)
    print(f"listening at 127.0.0.1:{port}", flush=True)
    await Deferred()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    react(main, sys.argv[1:])
