"""Settings: what they are (`settings.py`), how a file is read (`load.py`), how they are shown."""

from lbcproxy.config.describe import describe
from lbcproxy.config.load import (
    ConfigError,
    load,
    mode_of,
    read,
    recording_key,
    records_changes,
)
from lbcproxy.config.settings import Common, Config, Duration, Proxy, Size

__all__ = [
    "Common",
    "Config",
    "ConfigError",
    "Duration",
    "Proxy",
    "Size",
    "describe",
    "load",
    "mode_of",
    "read",
    "recording_key",
    "records_changes",
]
