"""The settings of mode socks5."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.config.settings import Proxy
from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import Destinations, Mode

__all__ = ["SOCKS_SETTINGS", "socks_problems", "through_socks_upstream"]

SOCKS_SETTINGS = ("socks_upstream", "socks_allow", "socks_deny")


def socks_problems(proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Yield the settings that are wrong, and what is wrong with them."""
    if proxy.socks_upstream is not None:
        try:
            if not Endpoint.parse(proxy.socks_upstream).port:
                yield "socks_upstream", "port 0 cannot be connected to"
        except ValueError as error:
            yield "socks_upstream", str(error)
    for name in SOCKS_SETTINGS[1:]:
        try:
            Destinations.parse(getattr(proxy, name), ())
        except ValueError as error:
            yield name, str(error)


def through_socks_upstream(proxy: Proxy, mode: Mode) -> Mode:
    """Return the mode of a proxy with the SOCKS proxy that it connects through as upstream."""
    if proxy.mode != "socks5" or proxy.socks_upstream is None:
        return mode
    return msgspec.structs.replace(mode, upstreams=(Endpoint.parse(proxy.socks_upstream),))
