"""Where a recording may be written: free names, files to continue, the standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from lbcproxy.capture.compression import SUFFIXES
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.lock import try_lock
from lbcproxy.capture.spans import intact_length
from lbcproxy.errors import CaptureError
from lbcproxy.private import Access, create, open_to_append

__all__ = ["ContinuedFile", "continue_file", "is_compressed", "open_fresh", "standard_output"]


class ContinuedFile(NamedTuple):
    """A file that is open to append to, and what was in it."""

    file: BinaryIO
    size: int = 0
    """Bytes of intact content."""
    tail_size: int = 0
    """Bytes of a torn tail that were cut off."""
    last_written_ns: int = 0
    """When the content was last written: nanoseconds since 1970."""


def open_fresh(base: Path, access: Access) -> tuple[BinaryIO, Path]:
    """Create a file under a name, or under the next that is free; a link makes a name taken."""
    for path in _names(base):
        if is_compressed(path):
            continue
        try:
            descriptor = create(path, access, flags=os.O_WRONLY | os.O_APPEND)
        except FileExistsError:
            continue
        try_lock(descriptor)
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
    """Return whether the file with a name exists only as a compressed file."""
    return not path.exists() and any(path.with_name(path.name + each).exists() for each in SUFFIXES)


def continue_file(path: Path, access: Access) -> ContinuedFile:
    """Open a file to append to it, or create it; a torn tail is cut off.

    Raises CaptureError if another process writes it, or if it cannot be continued.
    """
    if path.exists() and not path.is_file():
        return ContinuedFile(cast("BinaryIO", path.open("ab", buffering=0)))  # a pipe: /dev/fd/5
    file = open_to_append(path, access)
    try:
        if not try_lock(file.fileno()):
            raise CaptureError(f"{path} is being written by another process")
        return _cut_tail(file, path)
    except BaseException:
        file.close()
        raise


def _cut_tail(file: BinaryIO, path: Path) -> ContinuedFile:
    size = os.fstat(file.fileno()).st_size
    if not size:
        return ContinuedFile(file)
    with path.open("rb") as reading:
        if not pcapng.matches(reading.read(32)):
            raise CaptureError(f"{path} exists and is not a pcapng: it is not overwritten")
        reading.seek(0)
        try:
            intact = intact_length(pcapng.spans(reading))
        except CaptureError as error:
            raise CaptureError(f"{path} is not continued: {error}") from error
    last_written_ns = os.fstat(file.fileno()).st_mtime_ns
    os.ftruncate(file.fileno(), intact)
    return ContinuedFile(file, intact, size - intact, last_written_ns)


def standard_output() -> BinaryIO:
    """Return the standard output without Python's buffer, whose lock a hanging write would keep."""
    sys.stdout.flush()
    os.set_blocking(sys.stdout.fileno(), True)
    return cast("BinaryIO", os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0))
