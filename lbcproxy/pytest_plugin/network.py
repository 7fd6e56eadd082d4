"""No way out: while it holds, nothing of this process connects to anything but loopback."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["Guard", "NetworkBlocked", "is_loopback"]

PATCHED = ("connect", "connect_ex", "sendto")


class NetworkBlocked(RuntimeError):
    """A test wanted to leave loopback; no OSError, which code that tries again would swallow."""


class Guard:
    """Stands before sockets from `close` to `open`; all `allowed` are regular expressions."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = [re.compile(each) for each in allowed]
        self._before: dict[str, Any] = {}
        self._resolve: Any = None
        self._test = ""
        self.blocked: list[str] = []
        """Where the test wanted to go."""
        self.free: set[int | None] = set()
        """Threads that may go anywhere: the one that records."""

    def close(self, test: str) -> None:
        """Let nothing out while a test runs."""
        self._test = test
        self.blocked = []
        for name in PATCHED:
            original = self._before[name] = getattr(socket.socket, name)
            setattr(socket.socket, name, _guarded(self, name, original))
        self._resolve, original = socket.getaddrinfo, socket.getaddrinfo

        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            if not self._may(host) and not _is_number(host):
                raise socket.gaierror(socket.EAI_FAIL, self._note(host, "look up"))
            return original(host, *arguments, **options)

        socket.getaddrinfo = getaddrinfo

    def open(self) -> None:
        """Take it away."""
        for name, original in self._before.items():
            setattr(socket.socket, name, original)
        socket.getaddrinfo = self._resolve

    def check(self, name: str, family: int, address: Any) -> int:
        """Say 0 if a socket may go there; raises NetworkBlocked, or gives an error's number."""
        if family not in (socket.AF_INET, socket.AF_INET6) or self._may(address[0]):
            return 0
        where = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        what = self._note(f"{where}:{address[1]}", "connect to")
        if name == "connect_ex":  # who calls it wants a number, and has no way to take an exception
            return errno.EACCES
        raise NetworkBlocked(what)

    def _may(self, host: Any) -> bool:
        if threading.get_ident() in self.free or host in (None, "", b"", "localhost", b"localhost"):
            return True
        text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
        if any(each.match(text) for each in self._allowed):
            return True
        return is_loopback(text)

    def _note(self, where: object, what: str) -> str:
        words = f"{self._test} must not {what} {where}: the network is blocked (--block-network)"
        self.blocked.append(words)
        return words


def _guarded(guard: Guard, name: str, original: Any) -> Any:
    """Make a method of a socket that asks first; the address is its last argument."""

    def method(self: socket.socket, *arguments: Any) -> Any:
        number = guard.check(name, self.family, arguments[-1]) if arguments else 0
        return number or original(self, *arguments)

    return method


def is_loopback(host: str) -> bool:
    """Whether a host is an address of this machine alone; a name is none."""
    return _is_number(host) and ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _is_number(host: Any) -> bool:
    try:
        text = host.decode() if isinstance(host, bytes) else str(host)
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
