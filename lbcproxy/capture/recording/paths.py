"""Where a recording may be written: names that are free, and the standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.capture.compression import SUFFIXES
from lbcproxy.capture.recording.lock import take
from lbcproxy.private import Access, create

__all__ = ["is_compressed", "open_fresh", "standard_output"]


def open_fresh(base: Path, access: Access) -> tuple[BinaryIO, Path]:
    """Create a file of a name, or of the next that is free; a name that a link has is not."""
    for path in _names(base):
        if is_compressed(path):
            continue
        try:
            descriptor = create(path, access, flags=os.O_WRONLY | os.O_APPEND)
        except FileExistsError:
            continue
        take(descriptor)
        return cast("BinaryIO", os.fdopen(descriptor, "ab", buffering=0)), path
    raise AssertionError  # pragma: no cover


def _names(path: Path) -> Iterator[Path]:
    """Return a path, then `x-2.pcapng`, `x-3.pcapng` and so on."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def is_compressed(path: Path) -> bool:
    """Return whether a name was that of a file that is there compressed only."""
    return not path.exists() and any(path.with_name(path.name + each).exists() for each in SUFFIXES)


def standard_output() -> BinaryIO:
    """Return the standard output without Python's buffer, whose lock a hanging write would keep."""
    sys.stdout.flush()
    os.set_blocking(sys.stdout.fileno(), True)
    return cast("BinaryIO", os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0))
