"""The server side of SOCKS 5 (RFC 1928, RFC 1929), up to the request.

It does no I/O: bytes in, bytes out. CONNECT is the only command. Any user name and password is
accepted: nodes generate new ones for each connection, so that Tor uses a separate circuit for it.
All fields of a client have a length of one byte, so that no more than a kilobyte is ever buffered.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Generator
from ipaddress import IPv4Address, IPv6Address, ip_address

from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.destinations import NotAllowed
from lbcproxy.text import printable

__all__ = ["SocksServer", "reply", "reply_to"]

VERSION = 5
CONNECT = 1
NO_AUTHENTICATION, PASSWORD, NO_METHOD = 0, 2, 0xFF
PASSWORD_VERSION = 1
IPV4, DOMAIN_NAME, IPV6 = 1, 3, 4
RESOLVE = 0xF0
COMMANDS = {2: "BIND", 3: "UDP ASSOCIATE", RESOLVE: "Tor's RESOLVE", 0xF1: "Tor's RESOLVE_PTR"}

SUCCEEDED = 0
FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
CONNECTION_REFUSED = 5
TTL_EXPIRED = 6
COMMAND_NOT_SUPPORTED = 7
ADDRESS_TYPE_NOT_SUPPORTED = 8
BY_ERRNO = {
    errno.ENETUNREACH: NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: HOST_UNREACHABLE,
    errno.ECONNREFUSED: CONNECTION_REFUSED,
    errno.ETIMEDOUT: TTL_EXPIRED,
}

HOST_NAME = re.compile(r"(?=[^.])[A-Za-z0-9._-]{1,255}")


class SocksServer:
    """The exchange with one client. How its stream is split makes no difference."""

    def __init__(self) -> None:
        self.destination: Endpoint | None = None
        """The destination of the client, once it has named it."""
        self.refused = ""
        """Why the client is refused; empty unless it is."""
        self.rest = b""
        """The bytes that came after the request."""
        self._buffer = b""
        self._replies = b""
        self._steps = self._exchange()
        self._needed = next(self._steps)

    @property
    def over(self) -> bool:
        """Whether the client is refused, or its destination known."""
        return bool(self.refused) or self.destination is not None

    def feed(self, data: bytes) -> bytes:
        """Process received bytes; return the bytes to send."""
        if self.refused:
            return b""
        self._buffer += data
        while not self.over and len(self._buffer) >= self._needed:
            part, self._buffer = self._buffer[: self._needed], self._buffer[self._needed :]
            self._needed = self._steps.send(part)
        if self.over:
            self.rest, self._buffer = self.rest + self._buffer, b""
        replies, self._replies = self._replies, b""
        return replies

    def _exchange(self) -> Generator[int, bytes, None]:
        """Process one field after another: yields the length of each, and is sent its bytes."""
        yield from self._authenticate()
        if not self.refused:
            yield from self._request()
        yield 0  # `feed` does not continue after the end

    def _authenticate(self) -> Generator[int, bytes, None]:
        """Choose an authentication method, and accept any user name and password."""
        [version] = yield 1
        if version != VERSION:
            self._refuse(f"it does not speak SOCKS 5: its first byte is {version:02x}")
            return
        [count] = yield 1
        methods = yield count
        for method in (NO_AUTHENTICATION, PASSWORD):
            if method in methods:
                self._replies += bytes((VERSION, method))
                break
        else:
            offered = methods.hex(" ") or "none"
            self._refuse(
                f"it offers ({offered}), no supported authentication method",
                bytes((VERSION, NO_METHOD)),
            )
            return
        if method == PASSWORD:
            [version] = yield 1
            if version != PASSWORD_VERSION:
                self._refuse(f"its password has an unknown version: {version:02x}", b"\x01\x01")
                return
            for _ in ("name", "password"):
                [length] = yield 1
                yield length
            self._replies += bytes((PASSWORD_VERSION, SUCCEEDED))

    def _request(self) -> Generator[int, bytes, None]:
        """Read the destination of the client."""
        version, command, _, kind = yield 4
        if version != VERSION:
            self._refuse(f"its request is not SOCKS 5: {version:02x}", reply(FAILURE))
        elif command != CONNECT:
            name = COMMANDS.get(command, f"command {command:02x}")
            advice = ": start btcd and lbcd with --noonion" if command == RESOLVE else ""
            self._refuse(f"it asks for {name}, not CONNECT{advice}", reply(COMMAND_NOT_SUPPORTED))
        elif kind == IPV4:
            yield from self._connect(str(IPv4Address((yield 4))))
        elif kind == IPV6:
            yield from self._connect(str(IPv6Address((yield 16))))
        elif kind == DOMAIN_NAME:
            [length] = yield 1
            name = (yield length).decode("latin-1")
            yield from self._connect(name)
        else:
            self._refuse(
                f"it asks for an address of unknown type {kind:02x}",
                reply(ADDRESS_TYPE_NOT_SUPPORTED),
            )

    def _connect(self, name: str) -> Generator[int, bytes, None]:
        port = int.from_bytes((yield 2))
        host = _host(name)
        if host and port:
            self.destination = Endpoint(host, port)
        else:
            requested = f"{printable(name)}:{port}"
            self._refuse(
                f"it asks for {requested}, which is not an address", reply(HOST_UNREACHABLE)
            )

    def _refuse(self, reason: str, answer: bytes = b"") -> None:
        self.refused = reason
        self._replies += answer


def reply(code: int, address: Endpoint | None = None) -> bytes:
    """Return the reply to a request: a code, and our address on the connection if there is one."""
    host = ip_address((address.host if address else "") or "0.0.0.0")  # noqa: S104  # none
    kind = IPV4 if host.version == 4 else IPV6
    port = address.port if address else 0
    return bytes((VERSION, code, 0, kind)) + host.packed + port.to_bytes(2)


def reply_to(result: Endpoint | BaseException) -> bytes:
    """Return the reply for the result of dialling: our address there, or the error."""
    if isinstance(result, Endpoint):
        return reply(SUCCEEDED, result)
    return reply(_code(result))


def _code(error: BaseException) -> int:
    if isinstance(error, NotAllowed):
        return NOT_ALLOWED
    if isinstance(error, DNSLookupError):
        return HOST_UNREACHABLE
    if isinstance(error, ConnectTimeout):
        return TTL_EXPIRED
    number = getattr(error, "osError", None)
    return BY_ERRNO.get(number if isinstance(number, int) else 0, FAILURE)


def _host(name: str) -> str:
    """Return a name as it can be looked up, or the address that it spells; empty if invalid."""
    try:
        # A zone identifies an interface of the client's machine, not of ours.
        return str(ip_address(name.strip("[]").partition("%")[0]))
    except ValueError:
        return name if HOST_NAME.fullmatch(name) else ""
