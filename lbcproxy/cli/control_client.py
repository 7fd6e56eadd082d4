"""A client of the control API of a running proxy.

Anything may be listening at the given address. Whatever that answers, and however slowly, becomes
one sentence and an exit code: an answer is bounded in time and size, and must have the type that
is expected.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import click
import msgspec

from lbcproxy.text import printable

__all__ = ["ControlClient", "control_option"]

RESPONSE_TIMEOUT = 10.0
"""Seconds for a complete response."""
MAX_RESPONSE = 16 << 20
"""Bytes of a response body."""
MAX_ERROR_TEXT = 300
"""Characters that are printed of an error message in a response."""
ERROR_STATUSES = range(400, 600)

T = TypeVar("T")

control_option = click.option(
    "--control",
    metavar="ADDRESS",
    default="127.0.0.1:8474",
    show_default=True,
    help="The address of the proxy's control API: HOST:PORT, or the path of a UNIX socket.",
)


class _ErrorResponse(msgspec.Struct):
    """The response to a request that failed."""

    error: str
    status: int


class ControlClient:
    """A client of the control API at one address.

    Raises:
        UsageError: The address is malformed.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._timeout = RESPONSE_TIMEOUT
        self._connect = _connector(address, self._timeout)

    def request(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        """Send a request and return the response.

        Args:
            method: The HTTP method.
            path: The path of the resource.
            kind: The type that the response must have.
            body: What to send, as JSON; nothing if it is None.

        Raises:
            ClickException: The request was refused, or the response is not one of lbcproxy.
        """
        status, data = self._response(method, path, None if body is None else json.dumps(body))
        if status in ERROR_STATUSES:
            refusal = self._decode(data, _ErrorResponse)
            raise click.ClickException(printable(refusal.error, MAX_ERROR_TEXT))
        if status not in range(200, 300):
            raise self._not_ours(f"it answers with HTTP status {status}")
        return self._decode(data or b"null", kind)

    def _response(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        """Return the status and body of the response to a request."""
        late = threading.Event()
        connection = self._connect()
        watchdog: threading.Timer | None = None
        try:
            connection.connect()
            # It gets the socket itself: http.client gives its own reference up before the end of a
            # response of unknown length.
            watchdog = threading.Timer(self._timeout, _shut_down, (connection.sock, late))
            watchdog.daemon = True
            watchdog.start()
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read(MAX_RESPONSE + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._no_api(f"no answer in {self._timeout:g} s") from None
            if isinstance(error, OSError):
                raise self._no_api(error.strerror or str(error)) from None
            raise self._not_ours("it does not answer in HTTP") from None
        finally:
            if watchdog is not None:
                watchdog.cancel()
            connection.close()
        if late.is_set():  # a response of unknown length ends where the connection is shut down
            raise self._no_api(f"no answer in {self._timeout:g} s")
        if len(data) > MAX_RESPONSE:
            raise self._not_ours(f"its answer is longer than {MAX_RESPONSE >> 20} MiB")
        if response.length:
            raise self._no_api("the answer is cut off")
        return response.status, data

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._not_ours("its answer is not what lbcproxy answers") from None

    def _no_api(self, reason: str) -> click.ClickException:
        text = f"no control API at {self._address}: {printable(reason, MAX_ERROR_TEXT)}"
        return click.ClickException(f"{text}; does the proxy run with `--control`?")

    def _not_ours(self, reason: str) -> click.ClickException:
        text = f"what listens at {self._address} is not a control API of lbcproxy: {reason}"
        return click.ClickException(text)


def _shut_down(sock: socket.socket, late: threading.Event) -> None:
    """Shut down a connection that takes too long, whatever it is waiting for."""
    late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _connector(address: str, timeout: float) -> Callable[[], http.client.HTTPConnection]:
    """Return a function that makes a connection to an address; raises UsageError."""
    if "/" in address:
        return lambda: _UnixConnection(address, timeout)
    host, _, digits = address.rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
    host = host.strip("[]") or "127.0.0.1"
    if not 0 < port < 65536 or not host.isprintable() or " " in host:
        raise click.UsageError(f"--control: {address!r} is not HOST:PORT, or a path with a slash")
    return lambda: http.client.HTTPConnection(host, port, timeout)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
