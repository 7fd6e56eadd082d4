"""Where the folders lie that travel with the program: example captures, example plugins.

In a source tree they stand at its top; in an installation below the package.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["folder"]

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the shipped folder `captures` or `plugins`; FileNotFoundError if it is not there."""
    for place in (PACKAGE / f"_{name}", PACKAGE.parent / name):
        if (place / "README.md").is_file():
            return place
    raise FileNotFoundError(f"the folder {name} that comes with lbcproxy is missing")
