"""The routes of the control API: which call a method and a path stand for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from lbcproxy import __version__
from lbcproxy.control.api import Api
from lbcproxy.control.errors import ApiError

__all__ = ["TOXIPROXY_VERSION", "ApiRequest", "ApiRoute", "route_of"]

TOXIPROXY_VERSION = "2.12.0"
"""The version of toxiproxy whose API this is; its clients check it."""


class ApiRequest(NamedTuple):
    """What a call gets of a request."""

    name: str
    """The first name in the path, of a proxy or a message; empty if it has none."""
    toxic: str
    """The second name in the path; empty if it has none."""
    body: bytes


Call = Callable[[Api, ApiRequest], object | Awaitable[object]]
"""Returns what is answered, as JSON values, or something to await for it."""


class ApiRoute(NamedTuple):
    """A method and a path, where a star stands for a name."""

    method: str
    path: str
    status: int
    """The HTTP status of the answer."""
    call: Call


def _version(_api: Api, _request: ApiRequest) -> dict[str, str]:
    return {"version": TOXIPROXY_VERSION, "lbcproxy": __version__}


ROUTES = (
    ApiRoute("GET", "version", 200, _version),
    ApiRoute("POST", "reset", 204, lambda api, _: api.proxies.reset()),
    ApiRoute("POST", "populate", 201, lambda api, request: api.proxies.populate(request.body)),
    ApiRoute("GET", "proxies", 200, lambda api, _: api.proxies.all_json()),
    ApiRoute("POST", "proxies", 201, lambda api, request: api.proxies.create(request.body)),
    ApiRoute("GET", "proxies/*", 200, lambda api, request: api.proxies.json(request.name)),
    *(
        ApiRoute(
            method,
            "proxies/*",
            200,
            lambda api, request: api.proxies.update(request.name, request.body),
        )
        for method in ("POST", "PATCH")
    ),
    ApiRoute("DELETE", "proxies/*", 204, lambda api, request: api.proxies.delete(request.name)),
    ApiRoute(
        "GET", "proxies/*/toxics", 200, lambda api, request: api.toxics.all_json(request.name)
    ),
    ApiRoute(
        "POST",
        "proxies/*/toxics",
        200,
        lambda api, request: api.toxics.create(request.name, request.body),
    ),
    ApiRoute(
        "GET",
        "proxies/*/toxics/*",
        200,
        lambda api, request: api.toxics.json(request.name, request.toxic),
    ),
    *(
        ApiRoute(
            method,
            "proxies/*/toxics/*",
            200,
            lambda api, request: api.toxics.update(request.name, request.toxic, request.body),
        )
        for method in ("POST", "PATCH")
    ),
    ApiRoute(
        "DELETE",
        "proxies/*/toxics/*",
        204,
        lambda api, request: api.toxics.delete(request.name, request.toxic),
    ),
    ApiRoute("GET", "intercept", 200, lambda api, _: api.held.json()),
    ApiRoute("POST", "intercept", 200, lambda api, request: api.held.configure(request.body)),
    ApiRoute(
        "POST",
        "intercept/*",
        204,
        lambda api, request: api.held.decide(request.name, request.body),
    ),
    ApiRoute("GET", "recordings", 200, lambda api, _: api.recordings.all_json()),
    ApiRoute(
        "POST", "recordings", 200, lambda api, request: api.recordings.switch_all(request.body)
    ),
    ApiRoute("GET", "recordings/*", 200, lambda api, request: api.recordings.json(request.name)),
    ApiRoute(
        "POST",
        "recordings/*",
        200,
        lambda api, request: api.recordings.switch(request.name, request.body),
    ),
    ApiRoute(
        "POST", "rings", 200, lambda api, request: api.recordings.write_all_rings(request.body)
    ),
    ApiRoute(
        "POST",
        "rings/*",
        200,
        lambda api, request: api.recordings.write_rings(request.name, request.body),
    ),
)
BY_METHOD_AND_PATH = {(route.method, route.path): route for route in ROUTES}


def route_of(method: str, path: str) -> ApiRoute:
    """Return the route of a method and a path; raises ApiError."""
    found = BY_METHOD_AND_PATH.get((method, path))
    if found is not None:
        return found
    if allowed := [route.method for route in ROUTES if route.path == path]:
        raise ApiError(405, f"method not allowed, there is {', '.join(allowed)}")
    raise ApiError(404, "not found")
