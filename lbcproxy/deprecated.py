"""Old public names that still work for one release, with a warning that names the new one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["DeprecatedAttribute", "deprecated_names"]


def deprecated_names(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's `__getattr__` (PEP 562) that resolves the old names to the new ones.

    Args:
        module: The module's `__name__`.
        names: The new name for each old one; both belong to the module.
    """

    def resolve(name: str) -> object:
        new = names.get(name)
        if new is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {new}", DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[module], new)

    return resolve


class DeprecatedAttribute:
    """An old name of a method or attribute: `meets = DeprecatedAttribute("matches")` in a class.

    Args:
        new: The name it has now, on the same object.
    """

    def __init__(self, new: str) -> None:
        self._new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: object, owner: type) -> Any:
        """Return what the new name has, with a warning; of the class, this description."""
        if instance is None:
            return self
        warnings.warn(
            f"{owner.__name__}.{self._old} is now {self._new}", DeprecationWarning, stacklevel=2
        )
        return getattr(instance, self._new)
