"""Every command reports what TCP receivers did not accept."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lbcproxy.capture.ip.segments import LINK_RAW, build
from lbcproxy.capture.packet import ACK, PSH, RST, SYN, Segment
from lbcproxy.endpoint import Endpoint
from tests.session.frames import ping
from tests.tools import TIMEOUT

CLIENT, NODE = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 29246)
WRAP = 2**32


def up(sequence: int, payload: bytes = b"", flags: int = PSH | ACK) -> Segment:
    """A segment of the client."""
    return Segment(CLIENT, NODE, sequence % WRAP, 501, flags, payload)


OPENING = [
    Segment(CLIENT, NODE, 100, 0, SYN, b""),
    Segment(NODE, CLIENT, 500, 101, SYN | ACK, b""),
    up(101, flags=ACK),
]
CASES = {
    "outside-window": [up(101, ping(1)), up(1_000_000_101, ping(9)), up(133, ping(2))],
    "ignored-reset": [up(101, ping(1)), up(0, flags=RST), up(133, ping(2))],
    "ignored-syn": [up(101, ping(1)), up(77, flags=SYN), up(133, ping(2))],
    "conflict": [up(101, ping(1)), up(101, ping(7)), up(133, ping(2))],
    "after-end": [up(101, ping(1) + ping(2)), up(165, flags=RST), up(165, ping(3))],
}


def written(path: Path, segments: list[Segment]) -> Path:
    """A pcap of a connection's opening and what follows, 10 ms apart."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, LINK_RAW)]
    for number, segment in enumerate([*OPENING, *segments]):
        data = build(segment)
        parts += [struct.pack("<4I", 1, number * 10_000_000, len(data), len(data)), data]
    path.write_bytes(b"".join(parts))
    return path


def lbcproxy(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, "-m", "lbcproxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("reason", CASES)
def test_undelivered_bytes_are_counted_and_reported(tmp_path: Path, reason: str):
    """The two messages are shown, and a line says what is not."""
    path = written(tmp_path / "x.pcap", CASES[reason])
    shown = lbcproxy("show", path)
    assert shown.returncode == 0, shown.stderr
    assert [line.split("nonce=")[1][:16].lstrip("0") for line in shown.stdout.splitlines()] == [
        "1",
        "2",
    ]
    assert len(shown.stderr.splitlines()) == 1
    [dropped] = json.loads(lbcproxy("info", "-T", "json", path).stdout)["dropped"]
    assert (dropped["reason"], dropped["packets"]) == (reason, 1)
    for command in (("convert", path, tmp_path / "y.pcapng"), ("cut", path, tmp_path / "z.pcapng")):
        done = lbcproxy(*command)
        assert done.returncode == 0
        assert shown.stderr in done.stderr
