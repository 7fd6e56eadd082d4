"""Connections that carry no byte: what somebody has whose node does not connect."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lbcproxy.capture.ip.segments import LINK_RAW, build
from lbcproxy.capture.packet import ACK, FIN, PSH, RST, SYN, Segment
from lbcproxy.capture.tcp.reassembler import Reassembler
from lbcproxy.capture.tcp.silent import Silence, SilentConnections
from lbcproxy.endpoint import Endpoint
from tests.tools import TIMEOUT

NODE = Endpoint("10.0.0.2", 29246)
SECOND = 1_000_000_000
REFUSED = [(SYN, b""), (RST | ACK, b"")]
OPENED = [(SYN, b""), (SYN | ACK, b""), (ACK, b"")]


def talk(port: int, flags: list[tuple[int, bytes]], begin: int = 0) -> list[tuple[int, Segment]]:
    """Packets between a client and the node; those with SYN-ACK and RST-ACK are the node's."""
    client = Endpoint("10.0.0.1", port)
    found = []
    sequences = {client: 100, NODE: 500}
    for number, (flag, payload) in enumerate(flags):
        from_node = flag in (SYN | ACK, RST | ACK)
        source, target = (NODE, client) if from_node else (client, NODE)
        sequence = 0 if flag == RST | ACK else sequences[source]
        acknowledgment = sequences[target] if flag & ACK else 0
        segment = Segment(source, target, sequence, acknowledgment, flag, payload)
        sequences[source] += len(payload) + (1 if flag & (SYN | FIN) else 0)
        found.append((begin + number * 1_000_000, segment))
    return found


def write(path: Path, packets: list[tuple[int, Segment]]) -> Path:
    """A pcap of them."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, LINK_RAW)]
    for time_ns, segment in packets:
        data = build(segment)
        parts += [struct.pack("<4I", *divmod(time_ns, SECOND), len(data), len(data)), data]
    path.write_bytes(b"".join(parts))
    return path


def counted(packets: list[tuple[int, Segment]]) -> SilentConnections:
    """What the reader of connections counts."""
    reassembler = Reassembler()
    for time_ns, segment in packets:
        reassembler.feed(time_ns, segment)
    reassembler.finish()
    return reassembler.silent


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        pytest.param(REFUSED, Silence.REFUSED, id="refused"),
        pytest.param([(SYN, b"")] * 4, Silence.UNANSWERED, id="unanswered"),
        pytest.param(OPENED, Silence.SILENT, id="silent"),
        pytest.param([*OPENED, (FIN | ACK, b"")], Silence.SILENT, id="closed"),
        pytest.param([*OPENED, (RST, b"")], Silence.SILENT, id="broken"),
    ],
)
def test_it_is_told_what_became_of_a_connection(flags: list[tuple[int, bytes]], outcome: Silence):
    """Each has another cure."""
    if flags[:2] == [(SYN, b"")] * 2:  # the same SYN again is no new attempt
        packets = [(at * SECOND, talk(40_000, [(SYN, b"")])[0][1]) for at in range(4)]
    else:
        packets = talk(40_000, flags)
    assert counted(packets).to_list() == [
        {"server": "10.0.0.2:29246", "outcome": outcome.value, "connections": 1}
    ]


def test_a_connection_with_bytes_is_not_counted():
    """Those are sessions, or of no known network."""
    assert counted(talk(40_000, [*OPENED, (PSH | ACK, b"x")])).to_list() == []


def test_a_scan_of_ports_is_bounded():
    """Servers are as many as the file likes."""
    silent = SilentConnections()
    for port in range(5_000):
        silent.add(Endpoint("10.0.0.2", port), Silence.REFUSED)
    assert silent.total == 5_000
    assert len(silent.to_list()) <= 1_001
    assert len(silent.sentences()) <= 9


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "info", "convert"])
def test_every_command_says_it_and_succeeds(tmp_path: Path, command: str):
    """It never said more than that no connection begins with a known magic, with exit code 2."""
    path = write(
        tmp_path / "x.pcap", [each for at in range(3) for each in talk(40_000 + at, REFUSED)]
    )
    arguments = [str(path)] if command != "convert" else [str(path), str(tmp_path / "y.pcapng")]
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    assert "3 connections to 10.0.0.2:29246: refused" in done.stderr + done.stdout
    assert "magic" not in done.stderr


def test_info_has_it_as_data(tmp_path: Path):
    """For programs."""
    path = write(tmp_path / "x.pcap", talk(40_000, REFUSED))
    command = [sys.executable, "-m", "lbcproxy", "info", "-T", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert json.loads(done.stdout)["silent"] == [
        {"server": "10.0.0.2:29246", "outcome": "refused", "connections": 1}
    ]
