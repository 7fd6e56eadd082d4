"""The Twisted shell: listeners, and the relays that join two peers."""

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
    MEMORY,
    MOST_SESSIONS,
    CannotListen,
    ProxyService,
    ProxySettings,
    Shared,
)
from lbcproxy.proxy.settings import Plugins, RelaySettings, Runtime, Shown

__all__ = [
    "MEMORY",
    "MOST_SESSIONS",
    "BadMode",
    "CannotListen",
    "Destinations",
    "Mode",
    "Plugins",
    "ProxyService",
    "ProxySettings",
    "Relay",
    "RelaySettings",
    "Runtime",
    "Shared",
    "Shown",
    "parse_listen",
    "parse_mode",
    "parse_upstreams",
    "syntax",
]
