"""Settings: their declaration (`settings.py`), loading and checks, and how they are printed."""

from lbcproxy.config.control import control_address
from lbcproxy.config.describe import describe
from lbcproxy.config.load import load, make_proxy, together
from lbcproxy.config.proxy_checks import mode_of
from lbcproxy.config.recordings import recording_key, records_changes
from lbcproxy.config.settings import Common, Config, Duration, Proxy, Size
from lbcproxy.config.source import ConfigError, read

__all__ = [
    "Common",
    "Config",
    "ConfigError",
    "Duration",
    "Proxy",
    "Size",
    "control_address",
    "describe",
    "load",
    "make_proxy",
    "mode_of",
    "read",
    "recording_key",
    "records_changes",
    "together",
]
