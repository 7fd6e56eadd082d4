"""A plain relay that keeps the bytes it relays: the independent witness of what a proxy passed.

Threads and sockets, nothing of lbcproxy.
"""

import contextlib
import socket
import threading
import time

from tests.tools import TIMEOUT

__all__ = ["Tap", "TappedConnection"]


class TappedConnection:
    """One connection: what each side sent, as (monotonic time, bytes).

    `port` is the one at which the target sees its client.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.to_target_chunks: list[tuple[float, bytes]] = []
        self.to_client_chunks: list[tuple[float, bytes]] = []

    @property
    def to_target(self) -> bytes:
        """All that the client sent."""
        return b"".join(data for _, data in list(self.to_target_chunks))

    @property
    def to_client(self) -> bytes:
        """All that the target sent."""
        return b"".join(data for _, data in list(self.to_client_chunks))


class Tap:
    """Listens at `port` of 127.0.0.1 and leads every connection to the port `target`.

    With `hold`, a connection stands still once the target has sent so many bytes, until `go` is
    set.
    """

    def __init__(self, target: int, hold: int | None = None) -> None:
        self.target = target
        self.go = threading.Event()
        self._hold = hold
        self.connections: list[TappedConnection] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._run(self._accept)

    def close(self) -> None:
        """Stop listening, break all connections off and wait for the threads."""
        self.go.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._threads[0].join(TIMEOUT)
        for each in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for each in [self._listening, *self._sockets]:
            each.close()

    def _run(self, function, *arguments) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(client)
            try:
                target = socket.create_connection(("127.0.0.1", self.target), TIMEOUT)
            except OSError:
                _break_off(client)
                continue
            target.settimeout(None)
            self._sockets.append(target)
            connection = TappedConnection(target.getsockname()[1])
            self.connections.append(connection)
            self._run(self._relay, client, target, connection.to_target_chunks)
            self._run(self._relay, target, client, connection.to_client_chunks, self._hold)

    def _relay(
        self,
        source: socket.socket,
        sink: socket.socket,
        log: list[tuple[float, bytes]],
        hold: int | None = None,
    ) -> None:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                data = source.recv(65_536)
            except OSError:
                _break_off(sink)
                return
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            log.append((time.monotonic(), data))
            if hold is not None and sum(len(each) for _, each in log) > hold:
                self.go.wait()
            try:
                sink.sendall(data)
            except OSError:
                _break_off(source)
                return


def _break_off(connection: socket.socket) -> None:
    """End a connection both ways, waking whoever reads it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
