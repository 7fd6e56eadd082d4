"""What the settings of mode socks5 say, held against what they may be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lbcproxy.config.settings import Proxy
from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy import Destinations, Mode

__all__ = ["SOCKS", "led_on", "not_led"]

SOCKS = ("socks_upstream", "socks_allow", "socks_deny")


def not_led(proxy: Proxy) -> Iterator[tuple[str, str]]:
    """Yield which of them cannot be, and why."""
    if proxy.socks_upstream is not None:
        try:
            if not Endpoint.parse(proxy.socks_upstream).port:
                yield "socks_upstream", "no proxy listens at port 0"
        except ValueError as error:
            yield "socks_upstream", str(error)
    for name in SOCKS[1:]:
        try:
            Destinations.parse(getattr(proxy, name), ())
        except ValueError as error:
            yield name, str(error)


def led_on(proxy: Proxy, mode: Mode) -> Mode:
    """Return a proxy's mode with the SOCKS proxy that clients are led through as its upstream."""
    if proxy.mode != "socks5" or proxy.socks_upstream is None:
        return mode
    return msgspec.structs.replace(mode, upstreams=(Endpoint.parse(proxy.socks_upstream),))
