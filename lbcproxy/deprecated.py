"""Old public names that still work for one release, with a warning that names the new one."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["DeprecatedAttribute", "deprecated_names", "renamed_parameters"]


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
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: object, owner: type) -> Any:
        """Return what the new name has, with a warning; of the class, this description."""
        if instance is None:
            return self
        warnings.warn(
            f"{owner.__name__}.{self._old} is now {self.new}", DeprecationWarning, stacklevel=2
        )
        return getattr(instance, self.new)


P = ParamSpec("P")
R = TypeVar("R")


def renamed_parameters(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that passes arguments given by an old name on under the new one.

    Args:
        names: The new name of a parameter for each old one.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in [each for each in kwargs if each in names]:
                new = names[old]
                text = f"{function.__qualname__}: the argument {old} is now {new}"
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                kwargs.setdefault(new, kwargs.pop(old))
            return function(*args, **kwargs)

        return call

    return decorate
