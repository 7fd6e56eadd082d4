"""A folder is a registry, a file in it is an entry: find the entries.

Messages, networks and capture formats are found by this one function, so that to add one is to
add one file. Modules whose name begins with `_` are helpers of their neighbours, not entries.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

__all__ = ["entries", "names"]


def entries(package: str) -> list[ModuleType]:
    """Import every entry of a package and give them back in the order of their names."""
    return [importlib.import_module(f"{package}.{name}") for name in names(package)]


def names(package: str) -> list[str]:
    """Give the names of a package's entries in order, and import nothing."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = sorted(each.name for each in pkgutil.iter_modules([str(folder)]))
    return [name for name in found if name[0] != "_"]
