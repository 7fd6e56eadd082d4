"""Captures made for tshark: payloads of any network and version, in sessions that agree on it."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from lbcproxy.capture.packet import Leg
from lbcproxy.capture.writing.capture_writer import CaptureWriter
from lbcproxy.capture.writing.chunks import Chunk
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import Direction
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, Version

__all__ = ["handshake", "write"]

NOBODY = NetAddress(services=0, ip=bytes(16), port=0)
BEGIN_NS = 1_700_000_000_000_000_000


def handshake(network: Network, version: int) -> bytes:
    """Return the frame by which a node says its protocol version."""
    record = Version(version=version, services=0, timestamp=0, addr_recv=NOBODY)
    return frame(network.magic, "version", Codec(network, version).encode(record))


def write(
    path: Path,
    network: Network,
    sessions: Iterable[tuple[int, Iterable[bytes]]],
    *,
    apart: bool = False,
    greeted: bool = True,
    port: int = 9,
) -> Path:
    """Write sessions, each of a protocol version and frames that the client sends under it.

    With `apart` each has a packet of its own; without `greeted` there is no handshake.
    """
    with path.open("wb") as file:
        writer = CaptureWriter(file.write, network=network.id, legs="client", metadata={})
        for number, (version, frames) in enumerate(sessions, 1):
            times = itertools.count(BEGIN_NS + number * 10**9, 1_000_000)
            client, server = Endpoint("127.0.0.1", 40_000 + number), Endpoint("127.0.0.2", port)
            writer.open(number, Leg.CLIENT, client, server, next(times), {"network": network.id})
            for direction in Direction if greeted else ():
                chunk = Chunk(handshake(network, version))
                writer.data(number, Leg.CLIENT, direction, next(times), [chunk])
            chunks = [Chunk(each) for each in frames]
            for batch in [[each] for each in chunks] if apart else [chunks]:
                writer.data(number, Leg.CLIENT, Direction.TO_UPSTREAM, next(times), batch)
            for direction in Direction:
                writer.finish(number, Leg.CLIENT, direction, next(times))
    return path
