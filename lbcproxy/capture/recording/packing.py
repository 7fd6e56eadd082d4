"""Captures compressed when they are whole: the copy first, then the original is deleted."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.private import create

__all__ = ["KINDS", "MISSING", "PACKED", "PART", "is_same", "lacks", "pack", "unpacked"]

KINDS = {"gz": ".gz", "zst": ".zst"}
"""Ways to compress, and what is put behind the name."""
PACKED = tuple(KINDS.values())
PART = ".part"
"""Behind the name of a copy that is not whole."""
CHUNK = 1 << 20
LEVELS = {"gz": 6, "zst": 3}
MISSING = "it needs the package zstandard: pip install 'lbcproxy[zstd]'"


def lacks(kind: str) -> bool:
    """Whether a way to compress needs a package that is not there."""
    return kind == "zst" and find_spec("zstandard") is None


def pack(
    path: Path, original: BinaryIO, kind: str, go_on: Callable[[], bool]
) -> tuple[Path, int] | None:
    """Compress a file that nobody writes, and delete it; give the copy and its size.

    None if it is not to go on. Whatever ends it, either the original is left or both are: the copy
    has its name when all of it is on the disk. Raises OSError, FileExistsError for a name that is
    taken.
    """
    target = path.with_name(path.name + KINDS[kind])
    if os.path.lexists(target):
        raise FileExistsError(None, "it is there already", str(target))
    part = target.with_name(target.name + PART)
    state = os.fstat(original.fileno())
    descriptor = create(part)  # whatever has that name is not ours to delete
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with _compressing(raw, kind) as out:
                while data := original.read(CHUNK):
                    if not go_on():
                        part.unlink()
                        return None
                    out.write(data)
            raw.flush()
            os.fsync(raw.fileno())
        shutil.copystat(path, part)  # by its time of writing its turn comes to be deleted
        with contextlib.suppress(OSError):
            os.chown(part, state.st_uid, state.st_gid)
        size = part.stat().st_size
        part.replace(target)
        _sync_folder(path.parent)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    path.unlink()
    return target, size


def unpacked(path: Path) -> BinaryIO:
    """Open a file that may be compressed, by its name; raises OSError or ImportError."""
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        import zstandard

        return cast("BinaryIO", zstandard.open(path, "rb"))
    return path.open("rb")


def is_same(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether two files hold the same from where they stand."""
    while True:
        data = one.read(CHUNK)
        if data != _exactly(other, len(data) or 1):
            return False
        if not data:
            return True


def _exactly(file: BinaryIO, size: int) -> bytes:
    parts = []
    while size and (data := file.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _compressing(raw: BinaryIO, kind: str) -> io.BufferedIOBase:
    if kind == "gz":
        return gzip.GzipFile("", "wb", LEVELS[kind], raw, mtime=0)
    import zstandard

    writer = zstandard.ZstdCompressor(level=LEVELS[kind], write_checksum=True)
    return cast("io.BufferedIOBase", writer.stream_writer(raw, closefd=False))


def _sync_folder(folder: Path) -> None:
    """Have a new name on the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
