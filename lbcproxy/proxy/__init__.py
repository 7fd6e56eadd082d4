"""The proxy on Twisted: listeners, and the sessions that connect clients to upstreams."""

from lbcproxy.proxy.destinations import Destinations
from lbcproxy.proxy.mode import (
    BadMode,
    Mode,
    parse_listen,
    parse_mode,
    parse_upstreams,
    syntax,
)
from lbcproxy.proxy.relay import Relay
from lbcproxy.proxy.service import (
    MAX_SESSIONS,
    MEMORY,
    CannotListen,
    ProxyService,
    ProxySettings,
    Shared,
)
from lbcproxy.proxy.settings import IdentityOverrides, Plugins, RelaySettings, Runtime

__all__ = [
    "MAX_SESSIONS",
    "MEMORY",
    "BadMode",
    "CannotListen",
    "Destinations",
    "IdentityOverrides",
    "Mode",
    "Plugins",
    "ProxyService",
    "ProxySettings",
    "Relay",
    "RelaySettings",
    "Runtime",
    "Shared",
    "parse_listen",
    "parse_mode",
    "parse_upstreams",
    "syntax",
]
