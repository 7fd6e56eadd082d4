"""Modes: where the proxy listens and where it connects to, as the operator writes them.

`KIND:HOST:PORT[,...]@[HOST:]PORT`, where KIND is one of `proxy/modes/`. If each client chooses its
own destination, it is `KIND@[HOST:]PORT`. Without a listening host the proxy listens at 127.0.0.1
only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.proxy.modes import all_modes

__all__ = ["BadMode", "Mode", "parse_listen", "parse_mode", "parse_upstreams", "syntax"]

DEFAULT_HOST = "127.0.0.1"
LISTEN = "[HOST:]PORT"
UPSTREAMS = "HOST:PORT[,...]"
CLIENTS_CHOICE = "wherever a client asks for"


class BadMode(LbcproxyError, ValueError):
    """A mode cannot be parsed. The text says which part is wrong and what is expected."""


class Mode(msgspec.Struct, frozen=True):
    """A listener and its upstreams."""

    kind: str
    upstreams: tuple[Endpoint, ...]
    """In the order in which they are tried; empty if each client chooses its destination."""
    listen: Endpoint

    def __str__(self) -> str:
        upstreams = ",".join(map(str, self.upstreams))
        return f"{self.kind}{upstreams and ':'}{upstreams}@{self.listen}"

    @property
    def leads_to(self) -> str:
        """A description of its upstreams."""
        return ", otherwise ".join(map(str, self.upstreams)) or CLIENTS_CHOICE


def syntax(kind: str) -> str:
    """Return how a mode of a kind is written."""
    return f"{kind}:{UPSTREAMS}@{LISTEN}" if all_modes()[kind].upstream else f"{kind}@{LISTEN}"


def parse_mode(text: str) -> Mode:
    """Parse a mode; raises BadMode."""
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
    """Parse the upstreams of a proxy; raises BadMode."""
    found = tuple(_address(text, None) for text in texts)
    for index, each in enumerate(found):
        if each.port == 0:
            raise BadMode("0 is not a TCP port to connect to")
        if each in found[:index]:
            raise BadMode(f"{each} is listed twice")
    return found


def parse_listen(text: str) -> Endpoint:
    """Parse where a proxy listens; raises BadMode."""
    return _address(text, DEFAULT_HOST)


def _address(text: str, default_host: str | None) -> Endpoint:
    try:
        return Endpoint.parse(text.removeprefix("tcp://"), default_host)
    except ValueError as error:
        raise BadMode(str(error)) from None
