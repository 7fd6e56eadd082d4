"""Hostile, broken and slow nodes on both sides of the real program, a neighbour beside each.

The neighbour has a session of its own in the same process, and asks for a sign of life all the
time: what one node does must not keep another one's session waiting.
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lbcproxy.capture import open_capture
from tests.limits.programs import (
    NETWORK,
    TIMEOUT,
    Neighbour,
    Node,
    Program,
    hello,
    ignore,
    message,
    proxied,
    start_of,
    write_config,
)
from tests.nodes import free_port, wait_until
from tests.proxy.loops import break_off

pytestmark = pytest.mark.slow

# A quiet node is pinged after a third of IDLE. A program that stands still for HANDSHAKE * 1.25
# must not end it, so that time and the third together are well below IDLE. DIAL is below HANDSHAKE.
HANDSHAKE, IDLE, DIAL = 2.0, 6.0, 1.2
"""Seconds: long enough for one who talks on a loaded machine, too."""
MODES = ("reverse", "terminate")
HUGE = NETWORK.magic + b"tx".ljust(12, b"\0") + b"\xff\xff\xff\xff" + b"abcd"


class Scene(NamedTuple):
    """A program at work, its listeners by what lies after them, and a neighbour."""

    mode: str
    program: Program
    ports: dict[str, int]
    neighbour: Neighbour
    idle_files: int
    """Descriptors it had with the neighbour's session alone."""
    capture: Path


@pytest.fixture(scope="module", params=MODES)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Start one program with a listener for each kind of upstream; stop it after all tests."""
    mode = request.param
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind: dict[str, int] = {"good": stack.enter_context(Node()).port, "refuses": free_port()}
        for name, behave in BEHAVIOURS.items():
            behind[name] = stack.enter_context(Node(behave)).port
        behind["hangs"] = stack.enter_context(_full()).getsockname()[1]
        limits = {"handshake_timeout": HANDSHAKE, "idle_timeout": IDLE, "dial_timeout": DIAL}
        own = [proxied(port, mode=mode, name=name, **limits) for name, port in behind.items()]
        own.append(proxied(behind["good"], mode=mode, name="patient"))  # a tap that does not judge
        path = write_config(folder, *own, record="all.pcapng")
        program = stack.enter_context(Program(start_of("run", path), folder))
        ports = dict(zip([*behind, "patient"], program.ports(len(own)), strict=True))
        neighbour = Neighbour(ports["good"])
        stack.callback(neighbour.end)
        scene = Scene(mode, program, ports, neighbour, program.open_files, folder / "all.pcapng")
        yield scene
        _check_that_nothing_is_left(scene)


# Clients.


def slowly(client: socket.socket) -> None:
    """Say hello, one byte after another, each after a pause."""
    for place in range(len(hello())):
        client.sendall(hello()[place : place + 1])
        time.sleep(HANDSHAKE / 60)


def never(client: socket.socket) -> None:
    """Say nothing, and wait for the end."""
    _read_to_end(client)


def claim(client: socket.socket) -> None:
    """Claim 4 GiB, and send some of them."""
    client.sendall(HUGE + bytes(1000))
    client.shutdown(socket.SHUT_WR)
    _read_to_end(client)


def garbage(client: socket.socket) -> None:
    """Send what is no protocol at all, and therefore taken for the key of one that encrypts."""
    client.sendall(random.Random(5).randbytes(200_000))
    client.shutdown(socket.SHUT_WR)
    _read_to_end(client)


def half_a_header(client: socket.socket) -> None:
    """Begin a message, and go."""
    client.sendall(hello()[:10])


def half_a_close(client: socket.socket) -> None:
    """Ask, close the sending side, and read the answer anyway."""
    client.sendall(hello() + message("verack") + message("ping", b"question"))
    client.shutdown(socket.SHUT_WR)
    assert _read_to_end(client).endswith(message("pong", b"question"))


NO_HANDSHAKE = f"no handshake in {HANDSHAKE:g} s;"
TOO_LATE = "client: protocol negotiation timeout;"
CLIENTS: dict[Callable[[socket.socket], None], dict[str, str]] = {
    slowly: {"reverse": NO_HANDSHAKE, "terminate": TOO_LATE},
    never: {"reverse": NO_HANDSHAKE, "terminate": TOO_LATE},
    claim: {
        "reverse": "client closed; 0 messages, 1,024 B up, 0 B down, no handshake, 1,024 B junk",
        "terminate": "client: 'tx' claims 4294967295 bytes, at most 33554432 allowed;",
    },
    garbage: {
        "reverse": "client: encrypted transport: no terminator in ",
        "terminate": "client: encrypted transport: no terminator in ",
    },
    half_a_header: {
        "reverse": "client closed; 0 messages, 10 B up, 0 B down, no handshake, 10 B junk",
        "terminate": "client: closed by the node;",
    },
    half_a_close: {
        "reverse": "client closed; 6 messages,",
        "terminate": "client: closed by the node; 5 messages,",
    },
}


@pytest.mark.parametrize("behave", CLIENTS)
def test_a_bad_client_ends_alone(scene: Scene, behave: Callable[[socket.socket], None]):
    """It is said how, and nobody else notices."""
    with _client(scene.ports["good"]) as client:
        port = client.getsockname()[1]
        with contextlib.suppress(OSError):  # it may be cut off at any time
            behave(client)
    assert scene.program.end_of(port).startswith(CLIENTS[behave][scene.mode])
    _check_neighbour(scene)


def test_a_slow_client_is_left_alone_where_nobody_set_a_time(scene: Scene):
    """A tap does not judge: byte by byte the whole message arrives."""
    with _client(scene.ports["patient"]) as client:
        port = client.getsockname()[1]
        slowly(client)
        client.sendall(message("verack") + message("ping", b"at last!"))
        client.shutdown(socket.SHUT_WR)
        assert _read_to_end(client).endswith(message("pong", b"at last!"))
    assert ", version 70013" in scene.program.end_of(port)
    _check_neighbour(scene)


def test_nobody_is_blamed_for_a_program_that_stood_still(scene: Scene):
    """As on a machine that was asleep: what lay there when its time was over is read first."""
    with _client(scene.ports["good"]) as client:
        port = client.getsockname()[1]
        scene.program.wait_for(rf"127\.0\.0\.1:{port}\] client connect\n")
        scene.program.process.send_signal(signal.SIGSTOP)
        try:
            client.sendall(hello() + message("verack") + message("ping", b"question"))
            time.sleep(HANDSHAKE * 1.25)
        finally:
            scene.program.process.send_signal(signal.SIGCONT)
        heard = b""
        while message("pong", b"question") not in heard:
            data = client.recv(65536)
            assert data, scene.program.end_of(port)
            heard += data
    assert ", version 70013" in scene.program.end_of(port)


# Upstreams.


def reset(connection: socket.socket) -> None:
    """Break off when the client has said something."""
    connection.recv(10)
    break_off(connection)


def finish(connection: socket.socket) -> None:
    """Send no more, but read on to the end; be the judge of how much came."""
    connection.recv(1 << 18)
    connection.shutdown(socket.SHUT_WR)
    HEARD.append(len(_read_to_end(connection)))


def deaf(connection: socket.socket) -> None:
    """Do the handshake, and read no more."""
    connection.sendall(hello() + message("verack"))
    ignore(connection)


HEARD: list[int] = []
BEHAVIOURS = {"resets": reset, "finishes": finish, "deaf": deaf, "mute": ignore}


def call(client: socket.socket) -> str:
    """Say hello, and wait for the end."""
    client.sendall(hello())
    return _how_it_ends(client)


def insist(client: socket.socket) -> str:
    """Say hello, read to the end of what the other has to say, and go on talking."""
    client.sendall(hello())
    how = _how_it_ends(client)
    with contextlib.suppress(OSError):
        client.sendall(message("tx", bytes(5000)))
        client.shutdown(socket.SHUT_WR)
    return how


def flood(client: socket.socket) -> str:
    """Do the handshake, and send without end until nothing is taken any more."""
    client.sendall(hello() + message("verack"))
    client.settimeout(IDLE / 3)
    part = message("unheard", bytes(100_000))
    try:
        for _ in range(1_000):
            client.sendall(part)
        pytest.fail("100 MB were taken that nobody read")
    except TimeoutError:
        client.settimeout(TIMEOUT)
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    return _how_it_ends(client)


class Row(NamedTuple):
    """An upstream, who calls, and how that ends for the client and in the log, in each mode."""

    upstream: str
    behave: Callable[[socket.socket], str]
    sees: dict[str, str]
    said: dict[str, str]


def both(reverse: str, terminate: str | None = None) -> dict[str, str]:
    """Return what holds in each mode."""
    return {"reverse": reverse, "terminate": reverse if terminate is None else terminate}


EITHER = "closed or reset"
"""What is closed with something unread is reset, by the system."""
UPSTREAMS = (
    Row(
        "refuses", call, both("reset", "closed"), both("upstream unreachable: Connection refused;")
    ),
    Row("hangs", call, both("reset", "closed"), both("upstream unreachable: no answer in time;")),
    Row("hangs", flood, both("reset", EITHER), both("upstream unreachable: no answer in time;")),
    Row(
        "resets",
        call,
        both("reset", "closed"),
        both("upstream reset;", "upstream: connection lost"),
    ),
    Row(
        "finishes",
        insist,
        both("closed"),
        both("upstream closed; 2 messages,", "upstream: closed by the node;"),
    ),
    Row(
        "mute", call, both("closed"), both(NO_HANDSHAKE, f"{TOO_LATE[:-1]}, waiting for the upstr")
    ),
    Row("deaf", flood, both(EITHER), both(f"not a byte in {IDLE:g} s;", "upstream: ")),
)


@pytest.mark.parametrize("row", UPSTREAMS, ids=lambda row: f"{row.upstream}-{row.behave.__name__}")
def test_a_bad_upstream_costs_its_clients_alone(scene: Scene, row: Row):
    """The client sees what it would see of the node itself, the operator reads why."""
    HEARD.clear()
    with _client(scene.ports[row.upstream]) as client:
        port = client.getsockname()[1]
        assert _seen(row, client) in row.sees[scene.mode]
    assert scene.program.end_of(port).startswith(row.said[scene.mode])
    if row.behave is insist and scene.mode == "reverse":
        assert [len(message("tx", bytes(5000)))] == HEARD
    _check_neighbour(scene)


def _check_neighbour(scene: Scene) -> None:
    scene.neighbour.check()


def _check_that_nothing_is_left(scene: Scene) -> None:
    """Fail if a descriptor is, or if anything of the neighbour's session was not recorded.

    The program ends for that, so this comes after all tests, in whatever order they run.
    """
    program = scene.program
    wait_until("all descriptors are closed", lambda: program.open_files <= scene.idle_files)
    _check_neighbour(scene)
    assert program.stop() == 0
    *_, farewell = program.text.splitlines()
    begun = program.text.count("] client connect\n")
    assert f" stopped: {begun} sessions, " in farewell
    assert program.ends == begun
    entries = list(open_capture(scene.capture))
    if scene.mode == "reverse":
        pings = [each for each in entries if (each.session, each.command) == (1, "ping")]
        assert len(pings) >= len(scene.neighbour.times) > 0


@contextlib.contextmanager
def _client(port: int) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.settimeout(TIMEOUT)
        client.bind(("127.0.0.1", 0))
        with contextlib.suppress(ConnectionResetError):  # it may be over as soon as it begins
            client.connect(("127.0.0.1", port))
        yield client


def _seen(row: Row, client: socket.socket) -> str:
    try:
        return row.behave(client)
    except TimeoutError:
        raise
    except OSError:
        return "reset"


@contextlib.contextmanager
def _full() -> Iterator[socket.socket]:
    """A listener whose queue is full: who dials it gets no answer."""
    with contextlib.ExitStack() as stack:
        listener: Any = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener


def _read_to_end(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(1 << 18):
        data += part
    return bytes(data)


def _how_it_ends(client: socket.socket) -> str:
    try:
        _read_to_end(client)
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    return "closed"
