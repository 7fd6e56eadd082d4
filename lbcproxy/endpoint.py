"""A host and a TCP port, with one text form for the whole program."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

__all__ = ["Endpoint"]

HOST_AND_PORT = re.compile(r"(?:(?P<host>\[[^\]@]+\]|[^\[\]:@/]+):)?(?P<port>[0-9]+)")


class _HostAndPort(NamedTuple):
    host: str
    port: int


class Endpoint(_HostAndPort):
    """One end of a connection: a host, by address or name, and a TCP port.

    Raises ValueError for a host with control characters: hosts come from files and peers, and are
    printed to terminals.
    """

    __slots__ = ()

    def __new__(cls, host: str, port: int) -> Self:
        """Make an endpoint; raises ValueError."""
        if not host.isprintable():
            raise ValueError(f"{host[:60]!r} is not a host: it has control characters")
        return super().__new__(cls, host, port)

    @classmethod
    def parse(cls, text: str, default_host: str | None = None) -> Endpoint:
        """Return the endpoint of "host:port", or of a port alone if there is a default host.

        Port 0 is valid. Raises ValueError for anything else.
        """
        found = HOST_AND_PORT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not HOST:PORT (IPv6 as [::1]:9246)")
        host, digits = found["host"] or default_host, found["port"]
        if host is None:
            raise ValueError(f"{text!r} names no host to connect to: write HOST:PORT")
        if len(digits) > 5 or int(digits) > 65535:
            raise ValueError(f"{digits} is not a TCP port, in HOST:PORT")
        return cls(host.strip("[]"), int(digits))

    @classmethod
    def from_text(cls, text: str) -> Endpoint:
        """Return the endpoint of text that `str` returned; the host may be a socket's path.

        Raises ValueError for other text.
        """
        host, colon, digits = text.rpartition(":")
        if not colon or re.fullmatch(r"[0-9]{1,5}", digits) is None or int(digits) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT (IPv6 as [::1]:9246)")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        return cls(host, int(digits))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
