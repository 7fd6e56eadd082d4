"""The Twisted shell: listeners, and the relays that join two peers."""

from lbcproxy.proxy.mode import BadMode, Mode, parse_mode
from lbcproxy.proxy.relay import Relay
from lbcproxy.proxy.service import CannotListen, ProxyService, ProxySettings
from lbcproxy.proxy.settings import RelaySettings, Shown

__all__ = [
    "BadMode",
    "CannotListen",
    "Mode",
    "ProxyService",
    "ProxySettings",
    "Relay",
    "RelaySettings",
    "Shown",
    "parse_mode",
]
