"""Blocks connections of this process to anything but loopback addresses."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = ["NetworkBlocked", "NetworkGuard", "is_loopback"]

Host: TypeAlias = str | bytes | None
SocketAddress: TypeAlias = Any
"""An address as the socket module takes it: a tuple for IPv4 and IPv6."""
PATCHED = ("connect", "connect_ex", "sendto")


class NetworkBlocked(RuntimeError):
    """A test tried to connect to another machine.

    Not an OSError, because code that retries would hide it.
    """


class NetworkGuard:
    """Checks the addresses of sockets between `close` and `open`.

    Args:
        allowed: Regular expressions for hosts that are not blocked.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = [re.compile(each) for each in allowed]
        self._before: dict[str, Any] = {}
        self._resolve: Any = None
        self._test = ""
        self.blocked: list[str] = []
        """Descriptions of the blocked connections of the test."""
        self.free: set[int | None] = set()
        """Ids of threads that are not blocked: the one that records."""

    def close(self, test: str) -> None:
        """Block connections while a test runs."""
        self._test = test
        self.blocked = []
        for name in PATCHED:
            original = self._before[name] = getattr(socket.socket, name)
            setattr(socket.socket, name, _guarded(self, name, original))
        self._resolve, original = socket.getaddrinfo, socket.getaddrinfo

        def getaddrinfo(host: Host, *arguments: Any, **options: Any) -> Any:
            if not self._may(host) and not _is_number(host):
                raise socket.gaierror(socket.EAI_FAIL, self._note(host, "look up"))
            return original(host, *arguments, **options)

        socket.getaddrinfo = getaddrinfo

    def open(self) -> None:
        """Stop blocking."""
        for name, original in self._before.items():
            setattr(socket.socket, name, original)
        socket.getaddrinfo = self._resolve

    def check(self, name: str, family: int, address: SocketAddress) -> int:
        """Return 0 if a socket may use an address, an errno for `connect_ex`.

        Raises:
            NetworkBlocked: If it may not.
        """
        if family not in (socket.AF_INET, socket.AF_INET6) or self._may(address[0]):
            return 0
        where = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        what = self._note(f"{where}:{address[1]}", "connect to")
        if name == "connect_ex":  # its callers expect a number, not an exception
            return errno.EACCES
        raise NetworkBlocked(what)

    def _may(self, host: Host) -> bool:
        if threading.get_ident() in self.free or host in (None, "", b"", "localhost", b"localhost"):
            return True
        text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
        if any(each.match(text) for each in self._allowed):
            return True
        return is_loopback(text)

    def _note(self, where: object, what: str) -> str:
        text = f"{self._test} must not {what} {where}: the network is blocked (--block-network)"
        self.blocked.append(text)
        return text


def _guarded(guard: NetworkGuard, name: str, original: Any) -> Any:
    """Return a socket method that checks the address, which is the last argument, first."""

    def method(self: socket.socket, *arguments: Any) -> Any:
        number = guard.check(name, self.family, arguments[-1]) if arguments else 0
        return number or original(self, *arguments)

    return method


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address; false for names."""
    return _is_number(host) and ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _is_number(host: Host) -> bool:
    try:
        text = host.decode() if isinstance(host, bytes) else str(host)
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
