"""A host and a TCP port, as every part of the program writes them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Endpoint"]


class Endpoint(NamedTuple):
    """One end of a connection: a host, by address or name, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
