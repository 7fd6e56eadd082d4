"""Encrypted conversations as a tap between the nodes sees them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lbcproxy.capture.ip.segments import LINK_RAW, build
from lbcproxy.capture.packet import ACK, FIN, PSH, SYN, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction
from lbcproxy.transport.key_log import LoggedSecret
from lbcproxy.transport.messages import contents_of
from lbcproxy.transport.v2 import V2Transport
from tests.capture.ip_packets import pcap

CLIENT, SERVER = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 29_246)
Part = tuple[Direction, bytes]


def encrypted(
    frames: Iterable[Part], magic: bytes, *, garbage: bytes = b"", decoys: bool = False
) -> tuple[list[Part], LoggedSecret]:
    """Return what two nodes send to have a conversation, and what a key log has of it."""
    client = V2Transport(magic, initiating=True)
    server = V2Transport(magic, initiating=False)
    up, down = Direction.TO_UPSTREAM, Direction.TO_CLIENT
    parts = [(up, client.public_key + client.garbage(garbage))]
    server.receive(client.public_key)
    parts.append((down, server.public_key + server.terminator() + server.packet(b"")))
    client.receive(server.public_key)
    parts.append((up, client.terminator() + client.packet(b"")))
    for number, (direction, frame) in enumerate(frames):
        side = client if direction is up else server
        if decoys:
            parts.append((direction, side.packet(bytes(number), decoy=True)))
        parts.append((direction, side.packet(contents_of(frame, short=number % 2 == 0))))
    assert client.logged_secret is not None
    return parts, client.logged_secret


def dump(path: Path, parts: Iterable[Part], *, without: int | None = None) -> Path:
    """Write a pcap of a connection, without one of its packets with data if a number is given."""
    ends = {Direction.TO_UPSTREAM: (CLIENT, SERVER), Direction.TO_CLIENT: (SERVER, CLIENT)}
    at = {CLIENT: 1_000, SERVER: 5_000}
    packets: list[bytes] = []

    def add(source: Endpoint, target: Endpoint, flags: int, payload: bytes = b"") -> bytes:
        segment = Segment(source, target, at[source], at[target], flags, payload)
        at[source] += len(payload) + bool(flags & (SYN | FIN))
        return build(segment)

    packets.append(build(Segment(CLIENT, SERVER, at[CLIENT], 0, SYN, b"")))
    at[CLIENT] += 1
    packets += [add(SERVER, CLIENT, SYN | ACK), add(CLIENT, SERVER, ACK)]
    number = 0
    for direction, data in parts:
        for start in range(0, len(data), 1_400):
            packet = add(*ends[direction], ACK | PSH, data[start : start + 1_400])
            if number != without:
                packets.append(packet)
            number += 1
    for source, target in ends.values():
        packets += [add(source, target, FIN | ACK), add(target, source, ACK)]
    pcap(LINK_RAW, packets, path)
    return path
