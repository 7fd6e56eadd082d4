"""How much memory the real program takes: measured here, judged elsewhere."""

from __future__ import annotations

import hashlib
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from tests.limits.programs import (
    NETWORK,
    TIMEOUT,
    Neighbour,
    Node,
    Program,
    hello,
    message,
    proxied,
    start_of,
    write_config,
)
from tests.nodes import wait_until

__all__ = ["MIB", "CutOpen", "cut_open", "one_session"]

MIB = 1 << 20
NDJSON = [sys.executable, "-m", "lbcproxy", "run", "-T", "ndjson", "-c"]
CUT = NETWORK.magic + b"block".ljust(12, b"\0") + (32 * MIB).to_bytes(4, "little") + b"abcd"


def one_session(folder: Path, marks: Sequence[int], size: int = 100_000) -> list[int]:
    """Pass messages through one session that is recorded; return resident bytes at each mark.

    Marks are bytes that have passed. What waits for a slow disk (`record_queue`) is written first:
    it is bounded, and no growth. The program has to end in order, with all of it recorded.
    """
    found = []
    capture = folder / "memory.pcapng"
    with Node(_swallow) as node:
        path = write_config(folder, proxied(node.port), record="memory.pcapng")
        with Program(start_of("run", path), folder) as program:
            [port] = program.ports()
            part = message("unheard", hashlib.sha256(b"").digest() * (size // 32))
            part *= max(1, MIB // len(part))
            sent = 0
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
                for mark in marks:
                    while sent < mark:
                        client.sendall(part)
                        sent += len(part)
                    wait_until("the disk has it", lambda: capture.stat().st_size > sent)  # noqa: B023
                    found.append(program.memory())
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
            assert program.stop() == 0, program.text
            assert f" {sent:,} B up" in program.text
            assert "not recorded" not in program.text
    return found


class CutOpen(NamedTuple):
    """What was measured of sessions cut open in the middle of a message."""

    before: int
    """Resident bytes with the neighbour alone."""
    held: int
    """With all sessions open and all that they sent taken in."""
    most: int
    """The most there ever was."""
    slowest: float
    """Seconds that the neighbour waited for an answer, at most."""
    log: str
    code: int


def cut_open(
    folder: Path, mode: str, *, each: int, memory: int, ndjson: bool, sessions: int = 100
) -> CutOpen:
    """Have sessions send a part of a 32 MiB message and stop there; a neighbour talks on."""
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        path = write_config(folder, proxied(node.port, mode=mode), record=None, memory=memory)
        command = [*NDJSON, str(path)] if ndjson else start_of("run", path)
        program = stack.enter_context(Program(command, folder, shown=not ndjson))
        [port] = program.ports()
        neighbour = Neighbour(port)
        stack.callback(neighbour.end)
        clients = [stack.enter_context(_begun(port, mode)) for _ in range(sessions)]
        before = program.memory()
        for client in clients:
            with suppress(OSError):
                client.sendall(CUT)
        part = bytes(MIB)
        for _ in range(each // MIB):
            for client in clients:
                with suppress(OSError):  # in mode terminate some have to go
                    client.sendall(part)
        held = _settled(program)
        neighbour.check()
        for client in clients:
            client.close()
        wait_until("all sessions are over", lambda: program.ends == sessions, TIMEOUT)
        neighbour.check()
        most, slowest = program.memory("VmHWM"), max(neighbour.times)
        return CutOpen(before, held, most, slowest, program.text, program.stop())


def _begun(port: int, mode: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    if mode == "terminate":
        client.sendall(hello())
        got = b""
        while b"verack" not in got:
            got += client.recv(1000)
        client.sendall(message("verack"))
    return client


def _settled(program: Program) -> int:
    """Return the resident bytes when they do not change any more."""
    last = -1
    while abs((now := program.memory()) - last) > MIB:
        last = now
        time.sleep(0.3)
    return now


def _swallow(connection: socket.socket) -> None:
    buffer = bytearray(MIB)
    while connection.recv_into(buffer):
        pass
