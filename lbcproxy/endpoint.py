"""A host and a TCP port, as every part of the program writes them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Endpoint"]


class Endpoint(NamedTuple):
    """One end of a connection: a host, by address or name, and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read "host:port"; raises ValueError if there is no port from 0 to 65535."""
        host, colon, port = text.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        if not colon or not 0 <= number <= 65535 or (":" in host and not host.startswith("[")):
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host.strip("[]"), number)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
