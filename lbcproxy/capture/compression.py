"""Compressed captures: gzip and zstd. Read by their first bytes, written by their suffix.

Decompressing holds one block at a time, of at most 128 KiB, and yields everything before damage.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol, cast

from lbcproxy.errors import CaptureError
from lbcproxy.private import create

__all__ = [
    "KINDS",
    "MISSING_ZSTANDARD",
    "PART_SUFFIX",
    "SUFFIXES",
    "compress_file",
    "compressing",
    "decompressing",
    "has_same_content",
    "is_unavailable",
    "open_decompressed",
    "suffix_of",
]

KINDS = {"gz": ".gz", "zst": ".zst"}
"""Ways to compress, and the suffix that each appends to a file name."""
SUFFIXES = tuple(KINDS.values())
PART_SUFFIX = ".part"
"""What is appended to the name of a compressed copy while it is incomplete."""
MISSING_ZSTANDARD = "it needs the package zstandard: pip install 'lbcproxy[zstd]'"

_LEVELS = {"gz": 6, "zst": 3}
_CHUNK = 1 << 16
_COPY_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW = 1 << 27  # what zstd itself accepts without --long
_MAX_BLOCK = 1 << 17


def is_unavailable(kind: str) -> bool:
    """Return whether a way to compress needs a package that is not installed."""
    return kind == "zst" and find_spec("zstandard") is None


def suffix_of(path: Path) -> str:
    """Return the suffix that says how a file is compressed; empty if it is not."""
    return path.suffix if path.suffix in SUFFIXES else ""


# Decompressing a stream, as far as it is good.


class _Decompressed(io.RawIOBase):
    """The content of a compressed file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""
        self.is_damaged = False
        """Whether the compressed stream is damaged, as far as it was read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return 0
            except CaptureError:
                self.is_damaged = True
                raise
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def decompressing(head: bytes, file: BinaryIO) -> tuple[BinaryIO, Callable[[], bool]] | None:
    """Return the content of a compressed file and whether its compressed stream is damaged.

    Offsets of damage in the compressed stream are those of the compressed file.

    Args:
        head: The first bytes of the file.
        file: The file, from its start.

    Returns:
        None if the file is not compressed.
    """
    if head.startswith(_GZIP):
        raw = _Decompressed(_gunzip(file))
    elif head.startswith(_ZSTD):
        raw = _Decompressed(_unzstd(file))
    else:
        return None
    return io.BufferedReader(raw, _CHUNK), lambda: raw.is_damaged


class _Decompressor(Protocol):
    """What `zlib.decompressobj` returns."""

    def decompress(self, data: bytes, /) -> bytes: ...


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    offset, data = 0, file.read(_CHUNK)
    while data:
        if not data.startswith(_GZIP[:1]):
            raise CaptureError(f"not gzip any more: {data[:4].hex()}", offset)
        stream = zlib.decompressobj(31)
        while not stream.eof:
            if not data:
                yield stream.flush()
                raise CaptureError("the gzip stream is cut", offset)
            before = stream.copy()
            try:
                chunk = stream.decompress(data, _CHUNK)
            except zlib.error:
                yield from _up_to_damage(before, data, offset)
                return
            yield chunk
            left = stream.unconsumed_tail or stream.unused_data
            offset += len(data) - len(left)
            data = left or file.read(_CHUNK)


def _up_to_damage(stream: _Decompressor, data: bytes, offset: int) -> Iterator[bytes]:
    """Decompress byte by byte what cannot be decompressed at once."""
    for index in range(len(data)):
        try:
            chunk = stream.decompress(data[index : index + 1])
        except zlib.error as error:
            raise CaptureError(f"the gzip stream is damaged: {error}", offset + index) from None
        yield chunk


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    zstandard = _zstandard()
    offset = 0
    while head := file.read(4):
        if head[1:] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a skippable frame
            size = int.from_bytes(_read_exactly(file, 4, offset), "little")
            left = size
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
            offset += 8 + size - left
            continue
        if head != _ZSTD:
            raise CaptureError(f"not zstd any more: {head.hex()}", offset)
        stream = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        for chunk in _zstd_frame(file, head, offset):
            try:
                yield stream.decompress(chunk)
            except zstandard.ZstdError as error:
                reason = str(error).removeprefix("zstd decompressor error: ").lower()
                raise CaptureError(f"the zstd stream is damaged: {reason}", offset) from None
            offset += len(chunk)


def _zstd_frame(file: BinaryIO, magic: bytes, offset: int) -> Iterator[bytes]:
    """Split a zstd frame into its header and blocks: RFC 8878, section 3.1.1."""
    descriptor = _read_exactly(file, 1, offset)
    single, dictionary = descriptor[0] >> 5 & 1, (0, 1, 2, 4)[descriptor[0] & 3]
    content = (single, 2, 4, 8)[descriptor[0] >> 6]
    header = magic + descriptor + _read_exactly(file, (not single) + dictionary + content, offset)
    yield header
    offset += len(header)
    last = False
    while not last:
        start = _read_exactly(file, 3, offset)
        word = int.from_bytes(start, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == 3 or (kind != 1 and size > _MAX_BLOCK):
            raise CaptureError("the zstd stream is damaged: an impossible block", offset)
        yield start + _read_exactly(file, 1 if kind == 1 else size, offset)
        offset += 3 + (1 if kind == 1 else size)
    if descriptor[0] & 4:
        yield _read_exactly(file, 4, offset)


def _read_exactly(file: BinaryIO, size: int, offset: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise CaptureError("the zstd stream is cut", offset)
    return data


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError:
        raise CaptureError(
            "zstd needs the package zstandard: pip install 'lbcproxy[zstd]'"
        ) from None
    return zstandard


# Compressing a stream.


def compressing(suffix: str, file: BinaryIO) -> BinaryIO:
    """Return a file whose bytes go compressed into another; all of them once it is closed."""
    if suffix == KINDS["gz"]:
        return cast("BinaryIO", gzip.GzipFile("", "wb", fileobj=file, mtime=0))
    compressor = _zstandard().ZstdCompressor(write_checksum=True)
    return cast("BinaryIO", compressor.stream_writer(file, closefd=False))


# Whole files.


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file that may be compressed, by its name; raises OSError or ImportError."""
    if path.suffix == KINDS["gz"]:
        return cast("BinaryIO", gzip.open(path, "rb"))
    if path.suffix == KINDS["zst"]:
        import zstandard

        return cast("BinaryIO", zstandard.open(path, "rb"))
    return path.open("rb")


def compress_file(
    path: Path, original: BinaryIO, kind: str, should_continue: Callable[[], bool]
) -> tuple[Path, int] | None:
    """Compress a file that nobody writes to, and delete it.

    Whatever interrupts it, either the original is left or both files are: the copy gets its name
    when all of it is on the disk.

    Args:
        path: The file.
        original: The same file, open.
        kind: One of `KINDS`.
        should_continue: Asked before each chunk.

    Returns:
        The compressed copy and its size in bytes; None if it was told to stop.

    Raises:
        FileExistsError: The name of the copy is taken.
        OSError: The copy cannot be written.
    """
    target = path.with_name(path.name + KINDS[kind])
    if os.path.lexists(target):
        raise FileExistsError(None, "it already exists", str(target))
    part = target.with_name(target.name + PART_SUFFIX)
    state = os.fstat(original.fileno())
    descriptor = create(part)  # whatever else has that name is not ours to delete
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with _compressor(raw, kind) as out:
                while data := original.read(_COPY_CHUNK):
                    if not should_continue():
                        part.unlink()
                        return None
                    out.write(data)
            raw.flush()
            os.fsync(raw.fileno())
        shutil.copystat(path, part)  # the copy is deleted when the original would have been
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


def has_same_content(one: BinaryIO, other: BinaryIO) -> bool:
    """Return whether two files have the same bytes, from their current positions to the end."""
    while True:
        data = one.read(_COPY_CHUNK)
        if data != _read_up_to(other, len(data) or 1):
            return False
        if not data:
            return True


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    parts = []
    while size and (data := file.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _compressor(raw: BinaryIO, kind: str) -> io.BufferedIOBase:
    if kind == "gz":
        return gzip.GzipFile("", "wb", _LEVELS[kind], raw, mtime=0)
    import zstandard

    writer = zstandard.ZstdCompressor(level=_LEVELS[kind], write_checksum=True)
    return cast("io.BufferedIOBase", writer.stream_writer(raw, closefd=False))


def _sync_folder(folder: Path) -> None:
    """Make sure that a new name is on the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
