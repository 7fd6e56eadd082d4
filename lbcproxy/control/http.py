"""The control API over HTTP: find the call for a request, and reject requests from browsers.

twisted.web comes with Twisted, and the routes are a table, so no other library is needed.
"""

from __future__ import annotations

import ipaddress
from inspect import isawaitable
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from lbcproxy.control.api import Api
from lbcproxy.control.errors import ApiError
from lbcproxy.control.routes import ApiRequest, route_of
from lbcproxy.peer.log import LOG_FILTER

__all__ = ["MAX_BODY", "make_site"]

MAX_BODY = 1 << 20
"""Bytes of a request body."""
IDLE_TIMEOUT = 60
"""Seconds for which a connection may be silent."""
LOG = Logger(namespace="lbcproxy.control", observer=LOG_FILTER)


def make_site(api: Api, *, local: bool) -> Site:
    """Return the factory of an HTTP listener.

    Args:
        api: What the requests are about.
        local: Whether it listens at a UNIX socket, which a web page cannot reach.
    """
    root = _Resource(api, local)
    site = _Site(
        root,
        requestFactory=_BoundedRequest,
        timeout=IDLE_TIMEOUT,
    )  # type: ignore[no-untyped-call]
    site.displayTracebacks = False
    return site


class _Site(Site):
    noisy = False

    def log(self, request: object) -> None:
        """Do nothing: what a request changes is logged where it is changed."""


class _BoundedRequest(Request):
    """A request with a bounded body: the excess is discarded, and much more aborts it."""

    received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        """Store a part of the body."""
        self.received += len(data)
        if self.received <= MAX_BODY:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        elif self.received > 8 * MAX_BODY and isinstance(self.channel, HTTPChannel):
            self.channel.forceAbortClient()


class _Resource(Resource):
    isLeaf = True  # noqa: N815  # Twisted's name

    def __init__(self, api: Api, local: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api = api
        self._local = local
        self._lock = DeferredLock()  # a change starts from what the one before it has left

    def render(self, request: _BoundedRequest) -> int:
        """Answer a request as soon as the ones before it are done."""
        disconnected: list[object] = []
        request.notifyFinish().addErrback(disconnected.append)
        answer: Deferred[tuple[int, object]] = self._lock.run(maybeDeferred, self._begin, request)

        def reply(result: tuple[int, object] | Failure) -> None:
            if not disconnected:
                _reply(request, *_status_and_answer(result))

        answer.addBoth(reply)
        return int(NOT_DONE_YET)

    def _begin(self, request: _BoundedRequest) -> Deferred[tuple[int, object]]:
        return Deferred.fromCoroutine(self._answer(request))

    async def _answer(self, request: _BoundedRequest) -> tuple[int, object]:
        self._check_origin(request)
        if request.received > MAX_BODY:
            raise ApiError(413, f"bad request body: more than {MAX_BODY} bytes")
        method = request.method.decode("ascii", "replace")
        parts = request.path.decode("ascii", "replace").strip("/").split("/")
        name, toxic, *_ = *(unquote(part) for part in parts[1:4:2]), "", ""
        path = "/".join("*" if number in (1, 3) else part for number, part in enumerate(parts))
        route = route_of(method, path)
        body = b"" if request.content is None else request.content.read()
        result = route.call(self._api, ApiRequest(name, toxic, body))
        return route.status, await result if isawaitable(result) else result

    def _check_origin(self, request: _BoundedRequest) -> None:
        """Reject what a web page may have sent, even under a name of its own; raises ApiError."""
        agent = request.getHeader("user-agent") or ""
        if agent.startswith("Mozilla/") or request.getHeader("origin") is not None:
            raise ApiError(403, "a browser is not allowed here")
        if not self._local and not _is_address(request.getHeader("host") or ""):
            raise ApiError(403, "the Host header must be an address or localhost")


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


def _status_and_answer(result: tuple[int, object] | Failure) -> tuple[int, object]:
    if not isinstance(result, Failure):
        return result
    if isinstance(result.value, ApiError):
        return result.value.status, result.value.answer
    LOG.failure("a request failed", result)
    return 500, ApiError(500, "a bug in lbcproxy; the log has the details").answer


def _reply(request: Request, status: int, answer: object) -> None:
    request.setResponseCode(status)
    if status != 204:
        request.setHeader("content-type", "application/json")
        request.write(msgspec.json.encode(answer) + b"\n")
    request.finish()
