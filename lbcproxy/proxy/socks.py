"""The server's side of SOCKS 5 (RFC 1928, RFC 1929), up to the request.

Without I/O: bytes in, bytes out. Only CONNECT is understood. Any name and password will do: nodes
make up new ones for each connection, so that Tor gives each a way of its own. All that a client
says here has a length of one byte before it, so that no more than a kilobyte is ever kept.
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
ANYBODY, PASSWORD, NO_METHOD = 0, 2, 0xFF
PASSWORD_VERSION = 1
IPV4, NAME, IPV6 = 1, 3, 4
RESOLVE = 0xF0
COMMANDS = {2: "BIND", 3: "UDP ASSOCIATE", RESOLVE: "Tor's RESOLVE", 0xF1: "Tor's RESOLVE_PTR"}

SUCCEEDED = 0
FAILURE = 1
NOT_ALLOWED = 2
NETWORK_UNREACHABLE = 3
HOST_UNREACHABLE = 4
REFUSED = 5
EXPIRED = 6
NO_SUCH_COMMAND = 7
NO_SUCH_ADDRESS = 8
BY_ERRNO = {
    errno.ENETUNREACH: NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: HOST_UNREACHABLE,
    errno.ECONNREFUSED: REFUSED,
    errno.ETIMEDOUT: EXPIRED,
}

HOST_NAME = re.compile(r"(?=[^.])[A-Za-z0-9._-]{1,255}")


class SocksServer:
    """What is said with one client. Feeding a stream in any split gives the same."""

    def __init__(self) -> None:
        self.destination: Endpoint | None = None
        """Where the client wants to go, once it has said so."""
        self.refused = ""
        """Why this comes to nothing, if it does."""
        self.rest = b""
        """What has come behind the request."""
        self._buffer = b""
        self._answers = b""
        self._steps = self._talk()
        self._wanted = next(self._steps)

    @property
    def over(self) -> bool:
        """Whether it has come to its end, the one or the other."""
        return bool(self.refused) or self.destination is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came, and give those that are to be sent."""
        if self.refused:
            return b""
        self._buffer += data
        while not self.over and len(self._buffer) >= self._wanted:
            part, self._buffer = self._buffer[: self._wanted], self._buffer[self._wanted :]
            self._wanted = self._steps.send(part)
        if self.over:
            self.rest, self._buffer = self.rest + self._buffer, b""
        answers, self._answers = self._answers, b""
        return answers

    def _talk(self) -> Generator[int, bytes, None]:
        """Take one part of the talk after another: yields how many bytes it has."""
        yield from self._agree()
        if not self.refused:
            yield from self._request()
        yield 0  # nobody asks again

    def _agree(self) -> Generator[int, bytes, None]:
        """Agree on how the client says who it is."""
        [version] = yield 1
        if version != VERSION:
            self._refuse(f"it does not speak SOCKS 5: its first byte is {version:02x}")
            return
        [count] = yield 1
        methods = yield count
        for method in (ANYBODY, PASSWORD):
            if method in methods:
                self._answers += bytes((VERSION, method))
                break
        else:
            offered = methods.hex(" ") or "none"
            self._refuse(
                f"of the ways to log in it offers ({offered}) none is known",
                bytes((VERSION, NO_METHOD)),
            )
            return
        if method == PASSWORD:
            [version] = yield 1
            if version != PASSWORD_VERSION:
                self._refuse(f"its password is of an unknown form: {version:02x}", b"\x01\x01")
                return
            for _ in ("name", "password"):
                [length] = yield 1
                yield length
            self._answers += bytes((PASSWORD_VERSION, SUCCEEDED))

    def _request(self) -> Generator[int, bytes, None]:
        """Read where the client wants to go."""
        version, command, _, kind = yield 4
        if version != VERSION:
            self._refuse(f"its request is not of SOCKS 5: {version:02x}", reply(FAILURE))
        elif command != CONNECT:
            name = COMMANDS.get(command, f"command {command:02x}")
            advice = ": start btcd and lbcd with --noonion" if command == RESOLVE else ""
            self._refuse(f"it asks for {name}, not CONNECT{advice}", reply(NO_SUCH_COMMAND))
        elif kind == IPV4:
            yield from self._connect(str(IPv4Address((yield 4))))
        elif kind == IPV6:
            yield from self._connect(str(IPv6Address((yield 16))))
        elif kind == NAME:
            [length] = yield 1
            name = (yield length).decode("latin-1")
            yield from self._connect(name)
        else:
            self._refuse(
                f"it asks for an address of unknown type {kind:02x}", reply(NO_SUCH_ADDRESS)
            )

    def _connect(self, name: str) -> Generator[int, bytes, None]:
        port = int.from_bytes((yield 2))
        host = _host(name)
        if host and port:
            self.destination = Endpoint(host, port)
        else:
            asked = f"{printable(name)}:{port}"
            self._refuse(f"it asks for {asked}, which is no address", reply(HOST_UNREACHABLE))

    def _refuse(self, why: str, answer: bytes = b"") -> None:
        self.refused = why
        self._answers += answer


def reply(code: int, address: Endpoint | None = None) -> bytes:
    """Give the answer to a request: a code, and where the connection comes from if there is one."""
    host = ip_address((address.host if address else "") or "0.0.0.0")  # noqa: S104  # for none
    kind = IPV4 if host.version == 4 else IPV6
    port = address.port if address else 0
    return bytes((VERSION, code, 0, kind)) + host.packed + port.to_bytes(2)


def reply_to(result: Endpoint | BaseException) -> bytes:
    """Give the answer for how dialling went: our address there, or what went wrong."""
    if isinstance(result, Endpoint):
        return reply(SUCCEEDED, result)
    return reply(_code(result))


def _code(error: BaseException) -> int:
    if isinstance(error, NotAllowed):
        return NOT_ALLOWED
    if isinstance(error, DNSLookupError):
        return HOST_UNREACHABLE
    if isinstance(error, ConnectTimeout):
        return EXPIRED
    number = getattr(error, "osError", None)
    return BY_ERRNO.get(number if isinstance(number, int) else 0, FAILURE)


def _host(name: str) -> str:
    """Give a name as it can be looked up; empty if it is none. It may be an address in words."""
    try:
        # A zone names an interface of the client's machine, not of ours.
        return str(ip_address(name.strip("[]").partition("%")[0]))
    except ValueError:
        return name if HOST_NAME.fullmatch(name) else ""
