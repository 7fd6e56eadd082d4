"""A node that sends back whatever it gets: a scripted upstream for tests with real programs."""

import contextlib
import socket
import threading
from typing import Any

from tests.tools import TIMEOUT

__all__ = ["Echo"]


class Echo:
    """Listens at `port` of 127.0.0.1; a connection ends when its client has closed its side.

    Until `reads` is set, which it is from the beginning, it accepts connections but reads nothing.
    With `answers=False` it only listens. With `encrypts=True` it sends back messages of encrypted
    connections.
    """

    def __init__(self, *, answers: bool = True, encrypts: bool = False) -> None:
        self._answers = answers
        self._encrypts = encrypts
        self.reads = threading.Event()
        self.reads.set()
        self.received: list[bytearray] = []
        """What came, by connection."""
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Listen no more, break off what is open, and wait for the threads."""
        self.reads.set()
        for each in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(TIMEOUT)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(connection)
            received = bytearray()
            self.received.append(received)
            thread = threading.Thread(target=self._serve, args=(connection, received), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, received: bytearray) -> None:
        self.reads.wait()
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            speaks = _accepted(connection) if self._encrypts else connection
            while data := speaks.recv(65_536):
                received += data
                if self._answers:
                    speaks.sendall(data)
        self._sockets.remove(connection)


def _accepted(connection: socket.socket) -> Any:
    """Return an encrypted connection after the handshake of the transport."""
    from tests.proxy.encrypted_sockets import EncryptedSocket

    accepted = EncryptedSocket(connection, initiating=False)
    accepted.shake_hands()
    return accepted
