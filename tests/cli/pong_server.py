"""A node for the programs under test: a TCP server that answers everything with a `pong`."""

import socket
import threading
from contextlib import suppress

from lbcproxy import networks
from lbcproxy.wire.envelope import frame
from tests.tools import TIMEOUT

__all__ = ["MAGIC", "PING", "PONG", "PongServer"]

MAGIC = networks.get("lbry-regtest").magic
PING = frame(MAGIC, "ping", bytes(7) + b"\x01")
PONG = frame(MAGIC, "pong", bytes(7) + b"\x01")


class PongServer:
    """A TCP server that answers whatever it receives with a `pong`, until the client closes."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(ConnectionResetError):
                while connection.recv(65536):
                    connection.sendall(PONG)

    def close(self):
        """Stop listening."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(TIMEOUT)
