"""The file a recorder writes to, and what it is called."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.background import Background
from lbcproxy.capture.formats import pcapng
from lbcproxy.errors import CaptureError

__all__ = ["CaptureFile", "new_name"]


MOST_WAITING = 64 << 20
"""Bytes that may wait for a disk or pipe."""
PATIENCE = 5.0
"""Seconds that the end waits for them."""


class CaptureFile:
    """A pcapng file that is written to as things happen, in a thread of its own.

    A file that exists is continued if it is a pcapng, after what a crash left of its last block
    is cut off; any other raises CaptureError, so that nothing is ever written over. `-` is the
    standard output. When a write fails, or too much waits to be written, `failed` is told why,
    once, in whatever thread it happened, and nothing more is written: sessions go on without.
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
        self._file = _standard_output() if path == "-" else self._open(Path(path))
        self._background = Background(
            self._write_all, MOST_WAITING, lambda error: self._stop(str(error.strerror))
        )

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
            try:
                whole = pcapng.whole_length(file)
            except CaptureError as error:
                raise CaptureError(f"{path} is not continued: {error}") from error
            self.cut = path.stat().st_size - whole
            self.continued = whole > 0
            file.truncate(whole)

    def write(self, data: bytes) -> None:
        """Have a number of whole blocks written."""
        if self.error is None and not self._background.put(data):
            self._stop(f"{MOST_WAITING >> 20} MiB wait to be written")

    def close(self) -> None:
        """Wait until all is written, but not for ever, and close; standard output stays open."""
        if not self._background.drain(PATIENCE):
            self._stop("it takes nothing any more")
        else:
            self._file.close()

    def _write_all(self, data: bytes) -> None:
        """Write in the background; what cannot be written whole is taken back."""
        before = os.fstat(self._file.fileno())
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._file.flush()
        except OSError:
            if stat.S_ISREG(before.st_mode):
                os.ftruncate(self._file.fileno(), before.st_size)
            raise

    def _stop(self, why: str) -> None:
        if self.error is None:
            self.error = f"recording into {self.name} stopped: {why}"
            self._failed(self.error)


def _standard_output() -> BinaryIO:
    """Give the standard output without Python's buffer, whose lock a hanging write would keep."""
    sys.stdout.flush()
    return cast("BinaryIO", os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0))


def new_name(folder: Path, what: str, now: datetime | None = None) -> str:
    """Give the path of a capture that is not there yet: `folder/20261123-094500-what.pcapng`."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    path = folder / f"{stamp}-{what}.pcapng"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stamp}-{what}-{number}.pcapng"
    return str(path)
