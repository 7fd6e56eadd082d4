"""A thousand sessions at once, and more than there may be."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.session import Direction
from tests.limits.programs import (
    STALL,
    TIMEOUT,
    Node,
    Program,
    message,
    neighbour,
    proxied,
    start_of,
    write_config,
)
from tests.nodes import wait_until
from tests.proxy.loops import break_off

pytestmark = pytest.mark.slow

SESSIONS = 1000
SECONDS = 3.0
"""How long their traffic lasts."""
LONGEST = 2000
ENDS = ("close", "half close", "reset", "cut", "stay")
HEADER = 24


class Client:
    """One of the thousand: what it says, when, and how it ends."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.said = [
            message("unheard", struct.pack("<II", number, place) + chance.randbytes(size))
            for place in range(chance.randint(1, 5))
            for size in [chance.randint(0, LONGEST)]
        ]
        self.times = sorted(chance.uniform(0, SECONDS) for _ in self.said)
        self.ends = chance.choice(ENDS)
        self.waits: list[float] = []

    async def connect(self, port: int) -> None:
        """Be one of those there are at once."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    async def talk(self) -> None:
        """Say each message at its time, wait until it comes back, and end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for raw, moment in zip(self.said, self.times, strict=True):
            await asyncio.sleep(max(0.0, began + moment - loop.time()))
            before = loop.time()
            self._writer.write(raw)
            assert await self._reader.readexactly(len(raw)) == raw
            self.waits.append(loop.time() - before)
        await self._end()

    async def _end(self) -> None:
        if self.ends == "stay":
            return
        if self.ends == "half close":
            self._writer.write_eof()
            assert await self._reader.read() == b""
        if self.ends == "cut":
            self._writer.write(message("unheard", bytes(100))[:50])
            await self._writer.drain()
        if self.ends == "reset":
            self._writer.transport.abort()
        self._writer.close()

    async def leave(self) -> None:
        """Read to the end, which the proxy makes."""
        with suppress(ConnectionResetError):
            assert await self._reader.read() == b""
        self._writer.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionResetError, asyncio.IncompleteReadError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


async def _play(program: Program, clients: list[Client], port: int) -> None:
    """Have them all connect, then talk and end; the program has to be rid of those that did."""
    idle = program.open_files
    assert 0 < idle < 30
    for start in range(0, SESSIONS, 100):
        await asyncio.gather(*(each.connect(port) for each in clients[start : start + 100]))
    # The log says so of an upstream when the client has begun to speak, which none has.
    await asyncio.to_thread(
        wait_until, "all are there", lambda: program.open_files == idle + 2 * SESSIONS
    )
    await asyncio.gather(*(each.talk() for each in clients))
    staying = [each for each in clients if each.ends == "stay"]
    await asyncio.to_thread(
        wait_until,
        "nothing is left of those that ended",
        lambda: program.open_files == idle + 2 * len(staying),
    )
    leaving = [asyncio.create_task(each.leave()) for each in staying]
    assert await asyncio.to_thread(program.stop) == 0
    await asyncio.gather(*leaving)


def test_a_thousand_sessions_are_recorded_in_one_file(tmp_path: Path):
    """Whatever their ends, the file holds every message of each; nothing is left open."""
    chance = random.Random(20)
    clients = [Client(number, chance) for number in range(SESSIONS)]
    assert set(Counter(each.ends for each in clients)) == set(ENDS)

    async def run() -> Program:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0, backlog=SESSIONS)
        path = write_config(
            tmp_path, proxied(server.sockets[0].getsockname()[1]), record="all.pcapng"
        )
        with Program(start_of("run", path), tmp_path) as program:
            await _play(program, clients, program.ports()[0])
        server.close()
        return program

    program = asyncio.run(asyncio.wait_for(run(), 60))
    assert f"stopped: {SESSIONS} sessions, " in program.text
    assert program.ends == SESSIONS
    assert max(wait for each in clients for wait in each.waits) < STALL
    _check_recorded(tmp_path / "all.pcapng", clients)
    stayed = sum(each.ends == "stay" for each in clients)
    assert program.text.count("end: proxy stopped; ") == stayed


def _check_recorded(path: Path, clients: list[Client]) -> None:
    """Hold the file against what each client said and heard."""
    found: dict[int, dict[Direction, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    cut: dict[int, bytes] = {}
    for entry in open_capture(path):
        if entry.message is None:
            cut[entry.session] = cut.get(entry.session, b"") + entry.raw
        else:
            found[entry.session][entry.direction].append(entry.raw)
    owner: dict[int, Client] = {}
    for session, ways in found.items():
        number = struct.unpack_from("<I", ways[Direction.TO_UPSTREAM][0], HEADER)[0]
        owner[session] = clients[number]
        assert ways[Direction.TO_UPSTREAM] == clients[number].said
        assert ways[Direction.TO_CLIENT] == clients[number].said
    assert len(owner) == len(set(map(id, owner.values()))) == SESSIONS
    assert {session for session, each in owner.items() if each.ends == "cut"} == set(cut)


LIMITS = [
    pytest.param({"max_sessions": 5}, "there are 5 sessions already (max_sessions)", id="in all"),
    pytest.param(
        {"max_sessions_per_address": 5},
        "it has 5 sessions already (max_sessions_per_address)",
        id="of an address",
    ),
]


@pytest.mark.parametrize(("settings", "why"), LIMITS)
def test_clients_beyond_the_bound_are_refused_at_once(
    tmp_path: Path, settings: dict[str, int], why: str
):
    """That is logged once a minute, others go on, and a client that leaves makes room."""
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        path = write_config(tmp_path, proxied(node.port, **settings), record=None)
        program = stack.enter_context(Program(start_of("run", path), tmp_path))
        [port] = program.ports()
        stack.enter_context(neighbour(port))
        let_in = [stack.enter_context(_client(port)) for _ in range(4)]
        assert all(map(_is_answered, let_in))
        full = program.open_files
        for _ in range(100):
            with _client(port) as client:
                assert not _is_answered(client)
        assert program.open_files == full
        assert program.text.count(" refused: ") == 1
        assert f"127.0.0.1:{port}: client 127.0.0.1 refused: {why}\n" in program.text
        assert all(map(_is_answered, let_in))
        if "max_sessions_per_address" in settings:
            other = stack.enter_context(socket.socket())
            other.bind(("127.0.0.2", 0))
            other.connect(("127.0.0.1", port))
            assert _is_answered(other)
        for client in let_in[:2]:
            break_off(client)
        wait_until("two have left", lambda: program.ends == 2)
        assert _is_answered(stack.enter_context(_client(port)))
        assert program.text.count(" refused: ") == 1
    assert "Traceback" not in program.text


def _client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)


def _is_answered(client: socket.socket) -> bool:
    with suppress(ConnectionError):
        client.sendall(message("ping", bytes(8)))
        return client.recv(100) == message("pong", bytes(8))
    return False
