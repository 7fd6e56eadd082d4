"""The modes of the proxy, one a file; the files are found, not listed.

A mode has `KIND`, its name; `HELP`, what it does, in a sentence; `UPSTREAM`, whether the operator
says where it leads; `CHANGES`, whether what comes in on one leg may differ from what goes out on
the other; and `make(number, settings, owner)`, which makes the session of a new client. How a mode
is written, in flags and in the config, follows from that.
"""

from __future__ import annotations

import functools
from types import ModuleType

from lbcproxy.discover import entries

__all__ = ["all_modes"]


@functools.cache
def all_modes() -> dict[str, ModuleType]:
    """Give every mode by its name."""
    return {module.KIND: module for module in entries("lbcproxy.proxy.modes")}
