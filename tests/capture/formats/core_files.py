"""Bitcoin Core's capture files, written and read without lbcproxy's code."""

import struct
from pathlib import Path
from typing import NamedTuple

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.session import Direction

BITCOIN = networks.get("bitcoin-regtest")
START = 1_700_000_000_000_000


class Said(NamedTuple):
    """What one record of Core's says."""

    micros: int
    command: bytes
    payload: bytes


def independently(data: bytes) -> list[Said]:
    """Read records as Core's `net.cpp` (CaptureMessageToFile) writes them.

    `time u64 LE, microseconds since the epoch | message type 12 bytes NUL padded | length u32 LE |
    payload`, back to back, no file header.
    """
    found = []
    place = 0
    while place < len(data):
        micros = int.from_bytes(data[place : place + 8], "little")
        command = data[place + 8 : place + 20]
        length = int.from_bytes(data[place + 20 : place + 24], "little")
        place += 24
        assert place + length <= len(data)
        name = command.rstrip(b"\0")
        assert name == command[: len(name)]
        found.append(Said(micros, name, data[place : place + length]))
        place += length
    return found


def core_record(micros: int, command: bytes, payload: bytes = b"") -> bytes:
    """Write one record, likewise."""
    return (
        struct.pack("<Q", micros)
        + command.ljust(12, b"\0")
        + struct.pack("<I", len(payload))
        + payload
    )


def folder(
    tmp_path: Path, received: bytes | None, sent: bytes | None, name="10.0.0.1_8333"
) -> Path:
    """A peer's folder as Core would leave it."""
    path = tmp_path / "message_capture" / name
    path.mkdir(parents=True)
    for data, file in ((received, "msgs_recv.dat"), (sent, "msgs_sent.dat")):
        if data is not None:
            (path / file).write_bytes(data)
    return path


def rows_of(path: Path) -> list[tuple[Direction, str, int]]:
    return [
        (each.direction, each.command, each.time_ns // 1_000 - START)
        for each in open_capture(path, BITCOIN)
    ]
