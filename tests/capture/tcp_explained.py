"""Shows a scene packet by packet, with what was true and what the reader told."""

from __future__ import annotations

import random

from lbcproxy.capture.packet import ACK, FIN, RST, SYN
from lbcproxy.capture.tcp.stream_events import Data, StreamEvent
from tests.capture.tcp_network import Scene, played, together
from tests.capture.tcp_read import read
from tests.capture.tcp_tap import record


def _event(event: StreamEvent) -> str:
    if isinstance(event, Data):
        return f"{len(event.data)} bytes from {'client' if event.from_client else 'server'}"
    return str(event)


def explained(scene: Scene, tap: str) -> str:
    """Return what a tap recorded, what was true, and what the reader told, in lines."""
    lines = played(scene)
    passed = together(lines)
    recorded = record(passed, tap, random.Random(f"tap {scene.seed}")) if passed else []
    began = recorded[0].time_ns if recorded else 0
    names = {SYN: "SYN", FIN: "FIN", RST: "RST", ACK: "ACK"}
    found = [f"{scene}, {tap}:"]
    for each in recorded:
        segment, of = each.segment, each.of
        flags = " ".join(name for bit, name in names.items() if segment.flags & bit)
        found.append(
            f"{(each.time_ns - began) / 1e6:12.3f} {segment.source} "
            f"{'stray' if of is None else of.number} {flags} seq {segment.sequence}"
            f" ack {segment.acknowledgment} length {len(segment.payload)}"
            f" window {segment.window} {segment.window_scale}"
        )
    for line in lines:
        for true in line.connections:
            found.append(
                f"{line.ends_at[0]} {true.number}: began {true.initial}, "
                f"sent {[len(each) for each in true.sent]}, got {true.got}, "
                f"finished {true.finished}, reset by {true.resets}, broken {true.broken}"
            )
    events, dropped = read((each.time_ns, each.segment) for each in recorded)
    for event in events:
        found.append(f"{(event.time_ns - began) / 1e6:12.3f} {event.connection} {_event(event)}")
    return "\n".join([*found, str(dict(dropped))])
