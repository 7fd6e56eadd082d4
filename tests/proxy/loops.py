"""A reactor of its own in a thread, so that tests may talk to a proxy with plain sockets."""

import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from tests.tools import TIMEOUT

__all__ = ["Loop", "break_off", "connect", "listening", "read_to_end"]


class Loop:
    """A running reactor."""

    def __init__(self) -> None:
        self.reactor: Any = _make_reactor()
        self._thread = threading.Thread(
            target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True
        )
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float = TIMEOUT) -> Any:
        """Call a function in the reactor thread; return the result of its Deferred or coroutine."""
        answers: queue.Queue[Any] = queue.Queue()

        def start() -> None:
            maybeDeferred(_begin, function, *arguments).addBoth(answers.put)

        self.reactor.callFromThread(start)
        answer = answers.get(timeout=seconds)
        if isinstance(answer, Failure):
            answer.raiseException()
        return answer

    def listen(self, make: Callable[[], Any]) -> Any:
        """Make a protocol for each connection to a port of 127.0.0.1, and give Twisted's port."""
        endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        return self.call(endpoint.listen, Factory.forProtocol(make))

    def stop(self) -> None:
        """Stop the reactor."""
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()


def _begin(function: Callable[..., Any], *arguments: Any) -> Any:
    result = function(*arguments)
    return Deferred.fromCoroutine(result) if hasattr(result, "send") else result


def _make_reactor() -> Any:
    """The kind that Twisted chooses by itself on this system, as far as it has it."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return SelectReactor()
    return EPollReactor()


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening socket; what it accepts does not wait for ever."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        server.settimeout(TIMEOUT)
        yield server


@contextlib.contextmanager
def connect(
    port: int, server: socket.socket, host: str = "127.0.0.1"
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection to a port, and the one that a server accepts for it."""
    with socket.create_connection((host, port), TIMEOUT) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(TIMEOUT)
            yield client, accepted


def read_to_end(connection: socket.socket) -> bytes:
    """Read all there is up to the end of the stream."""
    data = bytearray()
    while part := connection.recv(1 << 20):
        data += part
    return bytes(data)


def break_off(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
