"""Registries made of folders: every module of a package is an entry, and nothing lists them.

Messages, networks, capture formats, modes of the proxy and faults are found here, so that to add
one is to add one file. A module whose name begins with `_` is a helper of its neighbours, not an
entry.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import TypeVar, overload

__all__ = ["classes", "entries", "entry", "names"]

T = TypeVar("T")


@overload
def entries(package: str) -> list[ModuleType]: ...
@overload
def entries(package: str, name: str, kind: type[T]) -> list[T]: ...
def entries(
    package: str, name: str = "", kind: type[T] | None = None
) -> list[ModuleType] | list[T]:
    """Return what every module of a package exports under a name, in the order of the modules.

    Args:
        package: The dotted name of the package, as `lbcproxy.capture.formats`.
        name: The name that each module exports, as `FORMAT`. Without it the modules are returned.
        kind: The type that each value is an instance of.

    Raises:
        TypeError: A module does not export the name, or exports a value of another type.
    """
    modules = [importlib.import_module(f"{package}.{module}") for module in names(package)]
    if kind is None:
        return modules
    return [_checked(module, name, kind) for module in modules]


def classes(package: str, name: str, base: type[T]) -> list[type[T]]:
    """Return the class that every module of a package exports under a name: `entries` of classes.

    Args:
        package: The dotted name of the package.
        name: The name that each module exports, as `FAULT`.
        base: The class that each of them is a subclass of.

    Raises:
        TypeError: A module does not export the name, or exports something else.
    """
    found = entries(package, name, type)
    for module, each in zip(names(package), found, strict=True):
        if not issubclass(each, base):
            raise TypeError(f"{package}.{module}.{name} is not a subclass of {base.__name__}")
    return found


def entry(module: str, name: str, kind: type[T]) -> T:
    """Return what one module exports under a name; arguments and errors as for `entries`."""
    return _checked(importlib.import_module(module), name, kind)


def names(package: str) -> list[str]:
    """Return the names of a package's entries in order, and import none of them."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = sorted(each.name for each in pkgutil.iter_modules([str(folder)]))
    return [name for name in found if name[0] != "_"]


def _checked(module: ModuleType, name: str, kind: type[T]) -> T:
    value: object = getattr(module, name, None)
    if not isinstance(value, kind):
        raise TypeError(f"{module.__name__} must export {name}, of type {kind.__name__}")
    return value
