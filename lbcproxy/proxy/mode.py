"""Modes: what the proxy listens at and where it leads, as the operator writes it.

`KIND:HOST:PORT@[HOST:]PORT`, KIND one of `proxy/modes/`. Without a listening host the proxy listens
at 127.0.0.1 alone.
"""

from __future__ import annotations

import re

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.proxy.modes import all_modes

__all__ = ["BadMode", "Mode", "parse_mode"]

HOST_AND_PORT = re.compile(r"(?:(?P<host>\[[^\]@]+\]|[^\[\]:@/]+):)?(?P<port>[0-9]+)")


class BadMode(LbcproxyError, ValueError):
    """A mode that cannot be understood; the text says which part and what would be right."""


class Mode(msgspec.Struct, frozen=True):
    """One listener and where it leads."""

    kind: str
    upstream: Endpoint
    listen: Endpoint

    def __str__(self) -> str:
        return f"{self.kind}:{self.upstream}@{self.listen}"


def parse_mode(text: str) -> Mode:
    """Read a mode; raises BadMode."""
    kind, colon, rest = text.partition(":")
    if kind not in all_modes():
        raise BadMode(f"mode {text!r}: {kind!r} is not among {', '.join(all_modes())}")
    upstream, at, listen = rest.rpartition("@")
    if not colon or not at:
        raise BadMode(f"mode {text!r}: write {kind}:HOST:PORT@[HOST:]PORT")
    return Mode(kind, _address(text, upstream, None), _address(text, listen, "127.0.0.1"))


def _address(mode: str, text: str, default_host: str | None) -> Endpoint:
    found = HOST_AND_PORT.fullmatch(text.removeprefix("tcp://"))
    if found is None:
        raise BadMode(f"mode {mode!r}: {text!r} is not HOST:PORT (IPv6 as [::1]:9246)")
    host, digits = found["host"] or default_host, found["port"]
    port = int(digits) if len(digits) <= 5 else 65536
    if host is None:
        raise BadMode(f"mode {mode!r}: {text!r} names no host to connect to")
    if port > 65535 or (default_host is None and port == 0):
        raise BadMode(f"mode {mode!r}: {digits} is not a TCP port")
    return Endpoint(host.strip("[]"), port)
