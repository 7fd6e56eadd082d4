"""A full disk: traffic goes on or all sessions end, as configured; nothing is lost silently.

Full is a disk of its own where the tests may mount one (as root), and a bound on the length of
files everywhere.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.capture import open_capture
from tests.limits.programs import (
    STARTS,
    TIMEOUT,
    Node,
    Program,
    message,
    neighbour,
    proxied,
    start_of,
    write_config,
)

pytestmark = pytest.mark.slow

ROOM = 256 << 10
PART = message("unheard", bytes(30_000))
PARTS = 20

kinds = pytest.mark.parametrize("kind", STARTS)


class Disk(NamedTuple):
    """A folder without much room."""

    folder: Path
    begin: Callable[[], object] | None
    """Binds a process to the room, where the folder does not."""
    why: str


@pytest.fixture(params=["bound", "mounted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Make a disk that takes 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "bound":

        def bind() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))

        yield Disk(folder, bind, "File too large")
        return
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this system mounts no disk for us")
    try:
        yield Disk(folder, None, "No space left on device")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def started(kind: str, disk: Disk, node: Node, policy: str) -> Program:
    """Start a program that records to the disk."""
    folder = disk.folder.parent
    path = write_config(folder, proxied(node.port), record="disk/x.pcapng", record_failure=policy)
    return Program(start_of(kind, path), folder, begin=disk.begin)


@kinds
def test_traffic_goes_on_where_that_is_wanted(kind: str, disk: Disk):
    """What is not recorded is counted and said; what is recorded is whole; exit code 1."""
    with Node() as node, started(kind, disk, node, "continue") as program:
        [port] = program.ports()
        with neighbour(port), _client(port) as client:
            for _ in range(PARTS):
                client.sendall(PART)
                time.sleep(0.01)
            program.wait_for(f"recording into disk/x.pcapng fails: {disk.why}\n")
            own = client.getsockname()[1]
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
            assert f" {len(PART) * PARTS:,} B up" in program.end_of(own)
        assert program.stop() == 1
        _check_counted(program, disk)


@kinds
def test_all_sessions_end_where_that_is_wanted(kind: str, disk: Disk):
    """The program says why, how each session ended, and ends by itself with exit code 1."""
    with Node() as node, started(kind, disk, node, "stop") as program:
        [port] = program.ports()
        with _client(port) as quiet, _client(port) as client:
            quiet.sendall(message("ping", bytes(8)))
            with suppress(OSError):
                for _ in range(10 * PARTS):
                    client.sendall(PART)
                    time.sleep(0.01)
            assert program.end() == 1
        assert "Traceback" not in program.text
        failed = f"recording into disk/x.pcapng fails: {disk.why}; all sessions are ended\n"
        assert program.text.count("all sessions are ended") == 1
        assert failed in program.text
        assert program.text.count("end: proxy stopped; ") == program.ends == 2
        _check_counted(program, disk)


@pytest.mark.parametrize("disk", ["mounted"], indirect=True)  # a bound does not go away
def test_recording_goes_on_when_there_is_room_again(tmp_path: Path, disk: Disk):
    """It is tried again each 5 s; the file says how much is missing, and holds what comes then."""
    (disk.folder / "other").write_bytes(bytes(ROOM // 2))
    with Node() as node, started("run", disk, node, "continue") as program:
        [port] = program.ports()
        with neighbour(port), _client(port) as client:
            for _ in range(PARTS // 2):
                client.sendall(PART)
            program.wait_for("recording into disk/x.pcapng fails: ")
            (disk.folder / "other").unlink()
            program.wait_for(r"recording into disk/x.pcapng goes on: [\d,]+ messages ", 10)
        assert program.stop() == 1
        _check_counted(program, disk)


@pytest.mark.parametrize("room_again", [False, True])
def test_a_ring_that_does_not_fit_leaves_its_newest_messages(disk: Disk, room_again: bool):
    """All of it when there is room again; otherwise the rest counts as lost: exit code 1."""
    if room_again and disk.begin is not None:
        pytest.skip("a bound does not go away")
    parts = 5 if room_again else PARTS
    other = disk.folder / "other"
    other.write_bytes(bytes(ROOM // 2 if room_again else 0))
    with Node() as node:
        ring = {"ring": 1000, "ring_on": ["refused"], "ring_file": "disk/{session}.pcapng"}
        config = write_config(disk.folder.parent, proxied(node.port), record=None, **ring)
        command = start_of("run", config)
        with Program(command, disk.folder.parent, begin=disk.begin) as program:
            [port] = program.ports()
            with _client(port) as client:
                for number in range(parts):
                    client.sendall(message("unheard", bytes([number]) * 30_000))
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b""
            program.wait_for(r"session 1: refused: writing its ring to \S+ fails: ")
            held = _numbers_in(disk.folder / "1.pcapng")
            assert held == list(range(parts - len(held), parts))
            assert 0 < len(held) < parts
            if room_again:
                other.unlink()
            assert program.stop() == (0 if room_again else 1)
        assert _numbers_in(disk.folder / "1.pcapng") == (list(range(parts)) if room_again else held)


def _numbers_in(path: Path) -> list[int]:
    return [each.payload[0] for each in open_capture(path)]


def _check_counted(program: Program, disk: Disk) -> None:
    """Hold what passed against what is in the file and what is said to be missing."""
    last = program.wait_for(
        r"stopped: \d+ sessions, ([\d,]+) messages[^;]*; ([\d,]+) messages \([\d,]+ bytes of "
        r"capture\) were not recorded; recorded in disk/x.pcapng"
    )
    passed, lost = (int(last[place].replace(",", "")) for place in (1, 2))
    capture = open_capture(disk.folder / "x.pcapng")
    recorded = list(capture)  # raises if a block is torn
    assert capture.stats.lost.messages == lost  # and whoever reads it later learns of it
    assert lost > 0
    messages = [each for each in recorded if each.message is not None]
    assert len(messages) + lost == passed
    assert not re.search("cut off", "".join(each.error or "" for each in recorded))


def _client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)
