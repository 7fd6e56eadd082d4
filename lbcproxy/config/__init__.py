"""Settings: what they are (`settings.py`), how a file is read (`load.py`), how they are shown."""

from lbcproxy.config.control import control_address
from lbcproxy.config.describe import describe
from lbcproxy.config.load import (
    ConfigError,
    load,
    make_proxy,
    mode_of,
    read,
    together,
)
from lbcproxy.config.recordings import recording_key, records_changes
from lbcproxy.config.settings import Common, Config, Duration, Proxy, Size

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
