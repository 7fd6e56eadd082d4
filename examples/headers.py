#!/usr/bin/env python3
"""Connect to a node, ask for the headers after the first block, print them, and disconnect.

Usage: python examples/headers.py NETWORK HOST:PORT

For instance `python examples/headers.py lbry-regtest 127.0.0.1:29246`, with examples/listen.py or
any node at the other end.
"""

import sys
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import react

from lbcproxy import networks
from lbcproxy.networks import Network
from lbcproxy.peer import Peer, PeerConfig
from lbcproxy.wire.hashes import display, sha256d
from lbcproxy.wire.messages.headers import Headers


class Asker:
    """The callbacks: of the completed handshake, and of headers."""

    def __init__(self, network: Network) -> None:
        self.first_block = sha256d(network.genesis)
        self.answered = False

    def on_ready(self, peer: Peer) -> None:
        """Print what the node is, and ask."""
        snapshot = peer.snapshot()
        print(f"{snapshot.user_agent!r} speaks version {snapshot.protocol_version}")
        peer.push_get_headers([self.first_block], bytes(32))

    def on_headers(self, peer: Peer, record: Headers) -> None:
        """Print the headers, and disconnect."""
        for header in record.headers:
            print(display(header.hash))
        self.answered = True
        peer.disconnect(f"{len(record.headers)} headers came")


async def main(reactor: Any, network_id: str, address: str) -> None:
    """Connect, and wait for the end."""
    network = networks.get(network_id)
    config = PeerConfig(network=network, user_agent_name="headers", user_agent_version="1")
    asker = Asker(network)
    peer = Peer(config, inbound=False, clock=reactor, callbacks=asker)
    host, _, port = address.rpartition(":")
    try:
        await connectProtocol(HostnameEndpoint(reactor, host, int(port)), peer)
    except ConnectError as error:
        raise SystemExit(f"{address}: {error}") from None
    why = await peer.when_disconnected()
    if not asker.answered:
        raise SystemExit(f"{address} sent no headers: {why}")
    print(why)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    react(main, sys.argv[1:])
