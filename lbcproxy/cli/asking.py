"""Asking the control API of a proxy that runs."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import click

__all__ = ["ControlApi", "control_option"]

PATIENCE = 30

control_option = click.option(
    "--control",
    metavar="ADDRESS",
    default="127.0.0.1:8474",
    show_default=True,
    help="Where the proxy's control API listens: HOST:PORT, or the path of a UNIX socket.",
)


class ControlApi:
    """The control API of a running proxy."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Give the answer; what is refused is said as it is answered."""
        connection = _connection(self._address)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            data = answer.read()
        except OSError as error:
            why = error.strerror or error
            raise click.ClickException(
                f"no control API at {self._address}: {why}; is `--control` given to the proxy?"
            ) from None
        except http.client.HTTPException as error:
            raise click.ClickException(f"{self._address} does not answer: {error!r}") from None
        finally:
            connection.close()
        found = json.loads(data) if data else None
        if answer.status >= 400:
            words = found.get("error") if isinstance(found, dict) else answer.reason
            raise click.ClickException(str(words))
        return found


def _connection(address: str) -> http.client.HTTPConnection:
    if "/" in address:
        return _UnixConnection(address)
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise click.UsageError(f"--control: {address!r} is not HOST:PORT, or a path with a slash")
    return http.client.HTTPConnection(host.strip("[]") or "127.0.0.1", int(port), PATIENCE)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)
