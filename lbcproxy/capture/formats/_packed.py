"""Packed files: gzip and zstd, read as they are and written by suffix; neither is a format.

Unpacking keeps one block at a time, of at most 128 KiB. All that comes before damage is given.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from lbcproxy.errors import CaptureError

__all__ = ["PACKINGS", "packed", "unpacked"]

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_WINDOW = 1 << 27  # what zstd itself takes without --long
_MOST_BLOCK = 1 << 17
_MISSING = "zstd needs the package zstandard: pip install 'lbcproxy[zstd]'"


class _Unpacked(io.RawIOBase):
    """What is in a packed file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""
        self.damaged = False
        """Whether the packing itself is damaged, up to where it was read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            try:
                self._left = next(self._pieces)
            except StopIteration:
                return 0
            except CaptureError:
                self.damaged = True
                raise
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def unpacked(head: bytes, file: BinaryIO) -> tuple[BinaryIO, Callable[[], bool]] | None:
    """Give what is in a file that begins so, and whether its packing is damaged; None if it is not.

    The offsets of damage in the packing are those of the packed file.
    """
    if head.startswith(_GZIP):
        raw = _Unpacked(_gunzip(file))
    elif head.startswith(_ZSTD):
        raw = _Unpacked(_unzstd(file))
    else:
        return None
    return io.BufferedReader(raw, _CHUNK), lambda: raw.damaged


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    place, data = 0, file.read(_CHUNK)
    while data:
        if not data.startswith(_GZIP[:1]):
            raise CaptureError(f"no gzip any more: {data[:4].hex()}", place)
        stream = zlib.decompressobj(31)
        while not stream.eof:
            if not data:
                yield stream.flush()
                raise CaptureError("the gzip stream is cut", place)
            before = stream.copy()
            try:
                piece = stream.decompress(data, _CHUNK)
            except zlib.error:
                yield from _up_to_damage(before, data, place)
                return
            yield piece
            left = stream.unconsumed_tail or stream.unused_data
            place += len(data) - len(left)
            data = left or file.read(_CHUNK)


def _up_to_damage(stream: Any, data: bytes, place: int) -> Iterator[bytes]:
    """Unpack byte by byte what cannot be unpacked at once."""
    for index in range(len(data)):
        try:
            piece = stream.decompress(data[index : index + 1])
        except zlib.error as error:
            raise CaptureError(f"the gzip stream is damaged: {error}", place + index) from None
        yield piece


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    zstandard = _zstandard()
    place = 0
    while head := file.read(4):
        if head[1:] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:  # a frame to be skipped
            size = int.from_bytes(_exactly(file, 4, place), "little")
            left = size
            while left and (piece := file.read(min(left, _CHUNK))):
                left -= len(piece)
            place += 8 + size - left
            continue
        if head != _ZSTD:
            raise CaptureError(f"no zstd any more: {head.hex()}", place)
        stream = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW).decompressobj()
        for piece in _frame(file, head, place):
            try:
                yield stream.decompress(piece)
            except zstandard.ZstdError as error:
                words = str(error).removeprefix("zstd decompressor error: ").lower()
                raise CaptureError(f"the zstd stream is damaged: {words}", place) from None
            place += len(piece)


def _frame(file: BinaryIO, magic: bytes, place: int) -> Iterator[bytes]:
    """Cut a zstd frame into its header and blocks: RFC 8878, section 3.1.1."""
    descriptor = _exactly(file, 1, place)
    single, dictionary = descriptor[0] >> 5 & 1, (0, 1, 2, 4)[descriptor[0] & 3]
    content = (single, 2, 4, 8)[descriptor[0] >> 6]
    header = magic + descriptor + _exactly(file, (not single) + dictionary + content, place)
    yield header
    place += len(header)
    last = False
    while not last:
        start = _exactly(file, 3, place)
        word = int.from_bytes(start, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == 3 or (kind != 1 and size > _MOST_BLOCK):
            raise CaptureError("the zstd stream is damaged: a block that cannot be", place)
        yield start + _exactly(file, 1 if kind == 1 else size, place)
        place += 3 + (1 if kind == 1 else size)
    if descriptor[0] & 4:
        yield _exactly(file, 4, place)


def _exactly(file: BinaryIO, size: int, place: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise CaptureError("the zstd stream is cut", place)
    return data


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise CaptureError(_MISSING) from None
    return zstandard


def _into_gzip(file: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))


def _into_zstd(file: BinaryIO) -> BinaryIO:
    compressor = _zstandard().ZstdCompressor(write_checksum=True)
    return cast("BinaryIO", compressor.stream_writer(file, closefd=False))


PACKINGS = {".gz": _into_gzip, ".zst": _into_zstd}
"""By suffix: what packs a file."""


def packed(suffix: str, file: BinaryIO) -> BinaryIO:
    """Give a file to write to whose bytes go packed into another, when it is closed all of them."""
    return PACKINGS[suffix](file)
