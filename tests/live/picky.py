"""A node that does not encrypt, as an older one behaves when it gets a key: see `Picky`."""

import contextlib
import socket
import threading
import time

from tests.proxy.loops import break_off
from tests.tools import TIMEOUT

__all__ = ["Picky"]


class Picky:
    """Leads connections that begin with a magic to a port; with others it has a habit.

    Args:
        target: The port of the node.
        magic: The four bytes of its network.
        habit: `close`, `reset` or `silence`.
    """

    def __init__(self, target: int, magic: bytes, habit: str) -> None:
        self._target, self._magic, self._habit = target, magic, habit
        self.refused = 0
        """How many connections have begun otherwise."""
        self.served: list[float] = []
        """When connections were led to the node, in seconds of a monotonic clock."""
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._run(self._accept)

    def close(self) -> None:
        """End everything."""
        for each in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for each in (self._listening, *self._sockets):
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
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        start = client.recv(65_536)
        if start.startswith(self._magic):
            node = socket.create_connection(("127.0.0.1", self._target), TIMEOUT)
            self._sockets.append(node)
            self.served.append(time.monotonic())
            node.sendall(start)
            self._run(_pass_on, node, client)
            _pass_on(client, node)
        elif start:
            self.refused += 1
            if self._habit == "close":
                client.shutdown(socket.SHUT_WR)
            elif self._habit == "reset":
                break_off(client)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
