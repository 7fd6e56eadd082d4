"""The modules of lbcproxy, for the tests of its structure."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "lbcproxy"


MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a module's name, a package's without `__init__`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
