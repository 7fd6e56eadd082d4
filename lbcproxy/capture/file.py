"""The file a recorder writes to, and what it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.capture.formats import pcapng
from lbcproxy.errors import CaptureError

__all__ = ["CaptureFile", "new_name"]


class CaptureFile:
    """A pcapng file that is written to as things happen, each write at once.

    A file that exists is continued if it is a pcapng, after what a crash left of its last block
    is cut off; any other raises CaptureError, so that nothing is ever written over. `-` is the
    standard output. When a write fails, `failed` is told why, once, and nothing more is written:
    a session goes on without its record.
    """

    def __init__(self, path: str, failed: Callable[[str], object]) -> None:
        self.path = path
        self.name = "the standard output" if path == "-" else path
        """The path in words."""
        self.cut = 0
        """Bytes of a torn tail that were cut off."""
        self.continued = False
        """Whether there was something in the file before."""
        self.error: str | None = None
        """Why recording stopped before the end, if it did."""
        self._failed = failed
        self._file = sys.stdout.buffer if path == "-" else self._open(Path(path))

    def _open(self, path: Path) -> BinaryIO:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.is_file() and path.stat().st_size:
                self._repair(path)
            return cast("BinaryIO", path.open("ab", buffering=0))
        except OSError as error:
            raise CaptureError(f"cannot write {path}: {error.strerror}") from error

    def _repair(self, path: Path) -> None:
        with path.open("r+b") as file:
            if not pcapng.matches(file.read(32)):
                raise CaptureError(f"{path} exists and is no pcapng: it is not written over")
            file.seek(0)
            whole = pcapng.whole_length(file)
            self.cut = path.stat().st_size - whole
            self.continued = whole > 0
            file.truncate(whole)

    def write(self, data: bytes) -> None:
        """Write a number of whole blocks."""
        if self.error is not None:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._file.flush()
        except OSError as error:
            self.error = f"recording into {self.name} stopped: {error.strerror}"
            self._failed(self.error)

    def close(self) -> None:
        """Close the file; the standard output stays open."""
        if self.path != "-":
            self._file.close()


def new_name(folder: Path, what: str, now: datetime | None = None) -> str:
    """Give the path of a capture that is not there yet: `folder/20261123-094500-what.pcapng`."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    path = folder / f"{stamp}-{what}.pcapng"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stamp}-{what}-{number}.pcapng"
    return str(path)
