"""Modes: what the proxy listens at and where it leads, as the operator writes it.

`KIND:HOST:PORT[,...]@[HOST:]PORT`, KIND one of `proxy/modes/`; `KIND@[HOST:]PORT` where a
client itself says where it is to be led. Without a listening host the proxy listens at 127.0.0.1
alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.proxy.modes import all_modes

__all__ = ["BadMode", "Mode", "parse_listen", "parse_mode", "parse_upstreams", "syntax"]

HERE = "127.0.0.1"
LISTEN = "[HOST:]PORT"
UPSTREAMS = "HOST:PORT[,...]"
ASKED = "wherever a client asks for"


class BadMode(LbcproxyError, ValueError):
    """A mode that cannot be understood; the text says which part and what would be right."""


class Mode(msgspec.Struct, frozen=True):
    """One listener and where it leads."""

    kind: str
    upstreams: tuple[Endpoint, ...]
    """In the order in which they are tried; none where each client says its own."""
    listen: Endpoint

    def __str__(self) -> str:
        upstreams = ",".join(map(str, self.upstreams))
        return f"{self.kind}{upstreams and ':'}{upstreams}@{self.listen}"

    @property
    def leads_to(self) -> str:
        """Where it leads, in words."""
        return ", else ".join(map(str, self.upstreams)) or ASKED


def syntax(kind: str) -> str:
    """Say how a mode of a kind is written."""
    return f"{kind}:{UPSTREAMS}@{LISTEN}" if all_modes()[kind].upstream else f"{kind}@{LISTEN}"


def parse_mode(text: str) -> Mode:
    """Read a mode; raises BadMode."""
    before, at, listen = text.rpartition("@")
    kind, colon, upstreams = (before if at else text).partition(":")
    if kind not in all_modes():
        raise BadMode(f"mode {text!r}: {kind!r} is not among {', '.join(all_modes())}")
    wanted = all_modes()[kind].upstream
    if not at or bool(colon) is not wanted:
        raise BadMode(f"mode {text!r}: write {syntax(kind)}")
    try:
        found = parse_upstreams(upstreams.split(",")) if wanted else ()
        return Mode(kind, found, parse_listen(listen))
    except BadMode as error:
        raise BadMode(f"mode {text!r}: {error}") from None


def parse_upstreams(texts: Iterable[str]) -> tuple[Endpoint, ...]:
    """Read what a proxy leads to; raises BadMode."""
    found = tuple(_address(text, None) for text in texts)
    for number, each in enumerate(found):
        if each.port == 0:
            raise BadMode("0 is not a TCP port to connect to")
        if each in found[:number]:
            raise BadMode(f"{each} is there twice")
    return found


def parse_listen(text: str) -> Endpoint:
    """Read where a proxy listens; raises BadMode."""
    return _address(text, HERE)


def _address(text: str, default_host: str | None) -> Endpoint:
    try:
        return Endpoint.parse(text.removeprefix("tcp://"), default_host)
    except ValueError as error:
        raise BadMode(str(error)) from None
