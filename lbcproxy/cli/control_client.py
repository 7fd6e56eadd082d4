"""Asking the control API of a proxy that runs.

Anything may listen at the address that was given. Whatever that answers, and however slowly, is
one sentence and an exit code here: answers have bounds in time and size, and one expected shape.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click
import msgspec

from lbcproxy.text import printable

__all__ = ["ControlApi", "control_option"]

PATIENCE = 10.0
"""Seconds for a whole answer."""
MOST_ANSWER = 16 << 20
MOST_WORDS = 300
REFUSALS = range(400, 600)

T = TypeVar("T")

control_option = click.option(
    "--control",
    metavar="ADDRESS",
    default="127.0.0.1:8474",
    show_default=True,
    help="Where the proxy's control API listens: HOST:PORT, or the path of a UNIX socket.",
)


class _Refusal(msgspec.Struct):
    """What the API answers where it does not do what is asked."""

    error: str
    status: int


class ControlApi:
    """The control API of a running proxy."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._patience = PATIENCE
        self._connect = _connecting(address, self._patience)

    def ask(self, method: str, path: str, shape: type[T], body: object = None) -> T:
        """Return the answer, which must have a shape; what is refused is said as it is answered."""
        status, data = self._answer(method, path, None if body is None else json.dumps(body))
        if status in REFUSALS:
            refusal = self._read(data, _Refusal)
            raise click.ClickException(printable(refusal.error, MOST_WORDS))
        if status not in range(200, 300):
            raise self._foreign(f"it answers with HTTP status {status}")
        return self._read(data or b"null", shape)

    def _answer(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        """Return the status and body that are answered in time."""
        late = threading.Event()
        connection = self._connect()
        watch: threading.Timer | None = None
        try:
            connection.connect()
            # The socket itself: HTTP lets go of it before the end of an answer of unknown length.
            watch = threading.Timer(self._patience, _cut, (connection.sock, late))
            watch.daemon = True
            watch.start()
            connection.request(method, path, body)
            answer = connection.getresponse()
            data = answer.read(MOST_ANSWER + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._none(f"no answer in {self._patience:g} s") from None
            if isinstance(error, OSError):
                raise self._none(error.strerror or str(error)) from None
            raise self._foreign("it does not answer in HTTP") from None
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()
        if late.is_set():  # an answer whose length was not told ends where it is cut
            raise self._none(f"no answer in {self._patience:g} s")
        if len(data) > MOST_ANSWER:
            raise self._foreign(f"its answer is longer than {MOST_ANSWER >> 20} MiB")
        if answer.length:
            raise self._none("the answer is cut off")
        return answer.status, data

    def _read(self, data: bytes, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=shape)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._foreign("its answer is not what lbcproxy answers") from None

    def _none(self, why: str) -> click.ClickException:
        words = f"no control API at {self._address}: {printable(why, MOST_WORDS)}"
        return click.ClickException(f"{words}; is `--control` given to the proxy?")

    def _foreign(self, why: str) -> click.ClickException:
        words = f"what listens at {self._address} is not a control API of lbcproxy: {why}"
        return click.ClickException(words)


def _cut(sock: socket.socket, late: threading.Event) -> None:
    """End a connection that takes too long, whatever is being waited for."""
    late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _connecting(address: str, patience: float) -> Callable[[], http.client.HTTPConnection]:
    """Return what makes a connection to an address; raises UsageError for what is none."""
    if "/" in address:
        return lambda: _UnixConnection(address, patience)
    host, _, digits = address.rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
    host = host.strip("[]") or "127.0.0.1"
    if not 0 < port < 65536 or not host.isprintable() or " " in host:
        raise click.UsageError(f"--control: {address!r} is not HOST:PORT, or a path with a slash")
    return lambda: http.client.HTTPConnection(host, port, patience)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock: Any = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
