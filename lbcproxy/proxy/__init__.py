"""The Twisted shell: listeners, and the relays that join two peers."""

from lbcproxy.proxy.mode import BadMode, Mode, parse_mode
from lbcproxy.proxy.relay import Relay, RelaySettings
from lbcproxy.proxy.service import CannotListen, ProxyService, ProxySettings

__all__ = [
    "BadMode",
    "CannotListen",
    "Mode",
    "ProxyService",
    "ProxySettings",
    "Relay",
    "RelaySettings",
    "parse_mode",
]
