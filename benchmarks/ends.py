"""The two ends of a connection, each a process of its own, in plain sockets.

Both do the handshake before anything is measured, as what is between them may expect. Times are
those of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import cast

from benchmarks.traffic import HELLO, VERACK

__all__ = [
    "Far",
    "answer",
    "answering",
    "connect",
    "exactly",
    "greet",
    "hand_over",
    "many_sent",
    "more_files",
    "process",
    "sent",
    "sink",
]

TIMEOUT = 300.0
"""Seconds that anything may take before it counts as stuck."""
CHUNK = 1 << 20
_FORK = multiprocessing.get_context("fork")


class Far:
    """A process, and what it tells us."""

    def __init__(self, running: BaseProcess, pipe: Connection) -> None:
        self._running = running
        self._pipe = pipe

    def tells(self) -> float:
        """Wait for the next number it tells; raises RuntimeError if none comes."""
        if not self._pipe.poll(TIMEOUT):
            raise RuntimeError("an end is stuck")
        try:
            return float(self._pipe.recv())
        except EOFError:
            raise RuntimeError("an end has ended early") from None

    def end(self) -> None:
        """Give it a moment to end, and end it if it does not."""
        self._running.join(2)
        if self._running.is_alive():
            self._running.kill()
            self._running.join()


@contextlib.contextmanager
def process(do: Callable[..., None], *arguments: object) -> Iterator[Far]:
    """Run a function in a process; its last argument is a pipe to tell numbers through."""
    ours, theirs = _FORK.Pipe(duplex=False)
    running = _FORK.Process(target=do, args=(*arguments, theirs), daemon=True)
    running.start()
    theirs.close()
    far = Far(running, ours)
    try:
        yield far
    finally:
        far.end()
        ours.close()


@contextlib.contextmanager
def answering(do: Callable[[socket.socket, Connection], None]) -> Iterator[tuple[int, Far]]:
    """Run a function in a process that has a listening socket; return its port."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listening,
        process(do, listening) as far,
    ):
        yield listening.getsockname()[1], far


def sink(
    size: int, sessions: int = 1, *, hello: Callable[[socket.socket], object] | None = None
) -> AbstractContextManager[tuple[int, Far]]:
    """Listen for sessions that bring `size` bytes in all; tells when the last was there.

    One session may have another handshake than `answer`.
    """
    if sessions == 1:
        return answering(lambda listening, pipe: _sink(listening, size, hello or answer, pipe))
    return answering(lambda listening, pipe: _sink_many(listening, size, sessions, pipe))


@contextlib.contextmanager
def sent(port: int, buffer: bytes, times: int) -> Iterator[Far]:
    """Send a buffer several times to a port; tells when the first byte was sent."""
    with process(_send, port, buffer, times) as far:
        yield far


@contextlib.contextmanager
def many_sent(port: int, buffer: bytes, times: int, sessions: int) -> Iterator[Far]:
    """Do the same in several sessions at once, in each of which the buffer is sent so often."""
    with process(_send_many, port, buffer, times, sessions) as far:
        yield far


def connect(port: int) -> socket.socket:
    """Connect, without Nagle's delay."""
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def greet(connection: socket.socket) -> None:
    """Do the handshake as the one who connected."""
    connection.sendall(HELLO)
    exactly(connection, len(HELLO) + len(VERACK))
    connection.sendall(VERACK)


def answer(connection: socket.socket) -> None:
    """Do the handshake as the one who was called."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    exactly(connection, len(HELLO))
    connection.sendall(HELLO + VERACK)
    exactly(connection, len(VERACK))


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; raises RuntimeError if the connection ends before."""
    read = b""
    while len(read) < size:
        data = connection.recv(size - len(read))
        if not data:
            raise RuntimeError("the connection has ended early")
        read += data
    return read


def hand_over(connection: socket.socket, buffer: bytes, times: int, pipe: Connection) -> None:
    """Send a buffer several times, tell when the first byte was sent, and wait for the end."""
    pipe.send(time.monotonic())
    for _ in range(times):
        connection.sendall(buffer)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(CHUNK):
        pass
    connection.close()


def _sink(
    listening: socket.socket,
    size: int,
    hello: Callable[[socket.socket], object],
    pipe: Connection,
) -> None:
    connection, _ = listening.accept()
    hello(connection)
    space = memoryview(bytearray(CHUNK))
    while size > 0:
        read = connection.recv_into(space)
        if not read:
            raise RuntimeError("the connection has ended early")
        size -= read
    pipe.send(time.monotonic())
    while connection.recv_into(space):
        pass
    connection.close()


def _send(port: int, buffer: bytes, times: int, pipe: Connection) -> None:
    connection = connect(port)
    greet(connection)
    hand_over(connection, buffer, times, pipe)


def more_files() -> None:
    """Allow this process as many open connections as the system lets it have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _sink_many(listening: socket.socket, size: int, sessions: int, pipe: Connection) -> None:
    more_files()
    space = memoryview(bytearray(CHUNK))
    with selectors.DefaultSelector() as selector:
        for _ in range(sessions):
            connection, _ = listening.accept()
            answer(connection)
            selector.register(connection, selectors.EVENT_READ)
        while size > 0:
            for key, _ in selector.select():
                connection = cast("socket.socket", key.fileobj)
                read = connection.recv_into(space)
                if not read:  # others are not done yet; if too little came, `select` waits
                    selector.unregister(connection)
                    connection.close()
                size -= read
        pipe.send(time.monotonic())
        for key in list(selector.get_map().values()):
            cast("socket.socket", key.fileobj).close()


def _send_many(port: int, buffer: bytes, times: int, sessions: int, pipe: Connection) -> None:
    """Send to whoever takes something; all are greeted before."""
    more_files()
    with selectors.DefaultSelector() as selector:
        connections = []
        for _ in range(sessions):
            connection = connect(port)
            connections.append(connection)
            greet(connection)
            connection.setblocking(False)
            left = [memoryview(buffer)] * times
            selector.register(connection, selectors.EVENT_WRITE, left)
        pipe.send(time.monotonic())
        while selector.get_map():
            for key, _ in selector.select():
                _send_some(selector, key)
    for connection in connections:
        connection.close()


def _send_some(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    connection = cast("socket.socket", key.fileobj)
    first = key.data.pop()
    with contextlib.suppress(BlockingIOError):
        first = first[connection.send(first) :]
    if first:
        key.data.append(first)
    if not key.data:
        selector.unregister(connection)
