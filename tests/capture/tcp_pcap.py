"""Conversations of the model as pcap files: real messages in them, packets as a tap wrote them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from pathlib import Path

from lbcproxy import networks
from lbcproxy.capture.ip.segments import build
from lbcproxy.capture.packet import SYN, Segment
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from tests.capture.tcp_network import Passed
from tests.capture.tcp_truth import SECOND

LBRY = networks.get("lbry-regtest")
_HEADER = 24
_WINDOW_AT = 34
_SCALE_AT = 45
_NO_SCALE = b"\1\1\1"


def messages(chance: random.Random) -> bytes:
    """Return one to three messages, as a node writes them at once."""
    return b"".join(_message(chance) for _ in range(chance.randint(1, 3)))


def _message(chance: random.Random) -> bytes:
    command = chance.choice(("ping", "pong", "inv"))
    if command != "inv":
        return frame(LBRY.magic, command, chance.randbytes(8))
    things = tuple(
        InventoryVector(type=1, hash=chance.randbytes(32)) for _ in range(chance.choice((1, 5, 50)))
    )
    return frame(LBRY.magic, command, Codec(LBRY).encode(Inv(inventory=things)))


def commands(stream: bytes) -> tuple[str, ...]:
    """Return the commands of the whole messages in a stream."""
    found = []
    at = 0
    while at + _HEADER <= len(stream):
        end = at + _HEADER + int.from_bytes(stream[at + 16 : at + 20], "little")
        if end > len(stream):
            break
        found.append(stream[at + 4 : at + 16].rstrip(b"\0").decode())
        at = end
    return tuple(found)


def packet(segment: Segment) -> bytes:
    """Return a segment as an IP packet with its own window, which `build` does not write."""
    raw = bytearray(build(segment))
    raw[_WINDOW_AT : _WINDOW_AT + 2] = segment.window.to_bytes(2, "big")
    if segment.flags & SYN:
        scale = segment.window_scale
        raw[_SCALE_AT : _SCALE_AT + 3] = _NO_SCALE if scale is None else bytes((3, 3, scale))
    return bytes(raw)


def write_pcap(path: Path, recorded: Iterable[Passed]) -> Path:
    """Write what a tap recorded, with times in nanoseconds."""
    data = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 101)]
    for each in recorded:
        raw = packet(each.segment)
        data.append(struct.pack("<IIII", *divmod(each.time_ns, SECOND), len(raw), len(raw)) + raw)
    path.write_bytes(b"".join(data))
    return path
