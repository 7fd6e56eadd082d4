"""The dissector for Wireshark: a runtime in Lua, and tables made from the declarations.

`runtime/` has the Lua, a module a file, written for Lua 5.2 to 5.4 and Wireshark 4.0 and later. The
tables say what is read; nothing in the runtime names a field of a message, but for what is computed
(`derived.lua`).
"""

from __future__ import annotations

from importlib import resources

from lbcproxy import __version__
from lbcproxy.wireshark.describe import tables
from lbcproxy.wireshark.lua import lua

__all__ = ["MARK", "MODULES", "dissector"]

MODULES = ("hashes", "text", "cursor", "derived", "transactions", "reader", "message", "stream")
"""The files of the runtime, in the order in which they are run."""
MARK = "-- Made by lbcproxy"
"""How the plugin begins: by this we know a file as ours."""


def dissector() -> str:
    """Return the source of the plugin."""
    folder = resources.files("lbcproxy.wireshark") / "runtime"
    parts = [
        f"{MARK} {__version__}: `lbcproxy wireshark-plugin` prints it. Do not edit.",
        "-- A dissector of LBRY's and Bitcoin's peer-to-peer protocol for Wireshark 4.0 and later.",
        "",
        f"local data = {lua(tables())}",
        f"local {', '.join(MODULES)}",
    ]
    for name in MODULES:
        source = (folder / f"{name}.lua").read_text(encoding="utf-8").rstrip()
        parts += ["", f"{name} = (function()", source, "end)()"]
    return "\n".join(parts) + "\n"
