"""The API of plugins: `from lbcproxy.plugin import Plugin, Drop`.

These are the public names of `lbcproxy.plugins.api`, whose docstring describes plugins.
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
