"""The folders that are shipped with the program: example captures and plugins.

In a source tree they are at the top; in an installation they are inside the package.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["folder"]

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the shipped folder `captures` or `plugins`; raises FileNotFoundError."""
    for place in (PACKAGE / f"_{name}", PACKAGE.parent / name):
        if (place / "README.md").is_file():
            return place
    raise FileNotFoundError(f"the folder {name} that comes with lbcproxy is missing")
