"""The names that a plugin is written with: `from lbcproxy.plugin import Plugin, Drop`.

`lbcproxy.plugins.api` says what a plugin is; this is where people import it from.
"""

from lbcproxy.plugins.api import (
    BadSetting,
    Close,
    Delay,
    Direction,
    Drop,
    Inject,
    LiveSession,
    Message,
    Plugin,
    Raw,
    Replace,
    Sendable,
    Verdict,
    make,
    settings_of,
)

__all__ = [
    "BadSetting",
    "Close",
    "Delay",
    "Direction",
    "Drop",
    "Inject",
    "LiveSession",
    "Message",
    "Plugin",
    "Raw",
    "Replace",
    "Sendable",
    "Verdict",
    "make",
    "settings_of",
]
