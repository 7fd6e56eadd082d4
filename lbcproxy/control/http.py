"""The control API over HTTP: which call a request is, and who may not ask at all.

twisted.web is there with Twisted, and the routes are a table: no other library is needed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from lbcproxy import __version__
from lbcproxy.control.api import Api
from lbcproxy.control.errors import ApiError
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["MOST_BODY", "VERSION", "make_site"]

VERSION = "2.12.0"
"""The version of toxiproxy whose API this is; clients look at it."""
MOST_BODY = 1 << 20
PATIENCE = 60
"""Seconds for which a connection may say nothing."""
LOG = Logger(namespace="lbcproxy.control", observer=LOG_FILTER)

ROUTES: dict[tuple[str, str], tuple[int, str]] = {
    ("GET", "version"): (200, "version"),
    ("POST", "reset"): (204, "reset"),
    ("POST", "populate"): (201, "populate"),
    ("GET", "proxies"): (200, "proxies"),
    ("POST", "proxies"): (201, "create_proxy"),
    ("GET", "proxies/*"): (200, "proxy"),
    ("POST", "proxies/*"): (200, "update_proxy"),
    ("PATCH", "proxies/*"): (200, "update_proxy"),
    ("DELETE", "proxies/*"): (204, "delete_proxy"),
    ("GET", "intercept"): (200, "interception"),
    ("POST", "intercept"): (200, "intercept"),
    ("POST", "intercept/*"): (204, "decide"),
    ("GET", "recordings"): (200, "recordings"),
    ("POST", "recordings"): (200, "record_all"),
    ("GET", "recordings/*"): (200, "recording"),
    ("POST", "recordings/*"): (200, "record"),
    ("POST", "rings"): (200, "write_rings"),
    ("POST", "rings/*"): (200, "write_ring"),
    ("GET", "proxies/*/toxics"): (200, "toxics"),
    ("POST", "proxies/*/toxics"): (200, "create_toxic"),
    ("GET", "proxies/*/toxics/*"): (200, "toxic"),
    ("POST", "proxies/*/toxics/*"): (200, "update_toxic"),
    ("PATCH", "proxies/*/toxics/*"): (200, "update_toxic"),
    ("DELETE", "proxies/*/toxics/*"): (204, "delete_toxic"),
}
"""By method and path, a star for a name: the code of the answer, and the call."""


def make_site(api: Api, *, local: bool) -> Site:
    """Make what listens; `local` is for a UNIX socket, where no browser can be sent."""
    root = _Resource(api, local)
    site = _Site(root, requestFactory=_Request, timeout=PATIENCE)  # type: ignore[no-untyped-call]
    site.displayTracebacks = False
    return site


class _Site(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """Nothing: what a request changes is logged where it is changed."""


class _Request(Request):
    """A request whose body is bounded: what is more is not kept, and far more ends it."""

    received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        """Take a part of the body."""
        self.received += len(data)
        if self.received <= MOST_BODY:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        elif self.received > 8 * MOST_BODY and isinstance(self.channel, HTTPChannel):
            self.channel.forceAbortClient()


class _Resource(Resource):
    isLeaf = True  # noqa: N815  # Twisted's name

    def __init__(self, api: Api, local: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api = api
        self._local = local
        self._lock = DeferredLock()  # each change begins with what the one before has left

    def render(self, request: Any) -> int:
        """Answer, as soon as it is done."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        answer: Deferred[Any] = self._lock.run(maybeDeferred, self._begin, request)

        def reply(result: Any) -> None:
            if not gone:
                _reply(request, *_made(result))

        answer.addBoth(reply)
        return int(NOT_DONE_YET)

    def _begin(self, request: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._answer(request))

    async def _answer(self, request: Any) -> tuple[int, Any]:
        self._admit(request)
        method = request.method.decode("ascii", "replace")
        parts = request.path.decode("ascii", "replace").strip("/").split("/")
        names = [unquote(part) for part in parts[1:4:2]]
        pattern = "/".join("*" if number in (1, 3) else part for number, part in enumerate(parts))
        status, call = _route(method, pattern)
        if call == "version":
            return status, {"version": VERSION, "lbcproxy": __version__}
        return status, await _called(getattr(self._api, call), method, names, request)

    def _admit(self, request: Any) -> None:
        """Refuse what a web page may have sent, by name of host too; raises ApiError."""
        agent = request.getHeader("user-agent") or ""
        if agent.startswith("Mozilla/") or request.getHeader("origin") is not None:
            raise ApiError(403, "a browser is not allowed here")
        if not self._local and not _is_address(request.getHeader("host") or ""):
            raise ApiError(403, "the Host header must be an address or localhost")
        if request.received > MOST_BODY:
            raise ApiError(413, f"bad request body: more than {MOST_BODY} bytes")


def _route(method: str, pattern: str) -> tuple[int, str]:
    found = ROUTES.get((method, pattern))
    if found is not None:
        return found
    if others := [each for each, path in ROUTES if path == pattern]:
        raise ApiError(405, f"method not allowed, there is {', '.join(others)}")
    raise ApiError(404, "not found")


async def _called(call: Callable[..., Any], method: str, names: list[str], request: Any) -> Any:
    if method == "GET":
        return call(*names)
    return await call(*names, request.content.read())


def _is_address(host: str) -> bool:
    """Whether a Host header names this machine in a way that no name server decides."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _made(result: Any) -> tuple[int, Any]:
    if not isinstance(result, Failure):
        status, answer = result
        return status, answer
    if isinstance(result.value, ApiError):
        return result.value.status, result.value.answer
    LOG.failure("a request failed", result)
    return 500, ApiError(500, "a defect of lbcproxy; the log says more").answer


def _reply(request: Any, status: int, answer: Any) -> None:
    request.setResponseCode(status)
    if status != 204:
        request.setHeader("content-type", "application/json")
        request.write(msgspec.json.encode(answer) + b"\n")
    request.finish()
