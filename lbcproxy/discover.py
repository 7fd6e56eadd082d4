"""A folder is a registry, a file in it is an entry: find the entries.

Messages, networks and capture formats are found by this one function, so that to add one is to
add one file. Modules whose name begins with `_` are helpers of their neighbours, not entries.
"""

import importlib
import pkgutil
from types import ModuleType

__all__ = ["entries"]


def entries(package: str) -> list[ModuleType]:
    """Import every entry of a package and give them back in the order of their names."""
    folder = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    return [importlib.import_module(f"{package}.{name}") for name in names if name[0] != "_"]
