"""A progress bar on standard error while files are read."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from lbcproxy.cli.sanitizer import unwrapped
from lbcproxy.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["reading"]

Opener = Callable[[Path], BinaryIO]
"""Opens a file to be read."""

SUMMARY_AFTER = 2.0
"""Seconds after which the time and the speed are printed at the end."""


@contextmanager
def reading(*paths: Path, wanted: bool = True) -> Iterator[Opener]:
    """Yield a function that opens files, and show how much of them has been read.

    One progress bar covers all files. If reading took long, a line with the time and the speed
    follows. Nothing is shown unless standard error is a terminal and the paths are regular files.

    Args:
        paths: The files that will be opened.
        wanted: Whether to show anything.
    """
    dumb = os.environ.get("TERM") == "dumb"
    if not wanted or dumb or not sys.stderr.isatty() or not all(each.is_file() for each in paths):
        yield lambda path: path.open("rb")
        return
    from rich.markup import escape

    start, counted = time.monotonic(), 0
    with _progress_bar() as bar:
        name = printable(paths[0].name, 40) if len(paths) == 1 else f"{len(paths)} files"
        total = sum(each.stat().st_size for each in paths)
        task = bar.add_task(escape(name), total=total)

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            bar.advance(task, size)

        yield lambda path: cast("BinaryIO", io.BufferedReader(_Counted(path, count), 1 << 18))
    seconds = time.monotonic() - start
    if seconds >= SUMMARY_AFTER:
        speed = f"{counted / 1e6:,.1f} MB in {seconds:,.1f} s, {counted / seconds / 1e6:,.1f} MB/s"
        click.echo(f"lbcproxy: read {speed}", err=True)


def _progress_bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=unwrapped(sys.stderr)),
        transient=True,
        redirect_stdout=False,  # rich would print it to standard error
        redirect_stderr=False,
    )


class _Counted(io.RawIOBase):
    """A file that reports how much of it has been read."""

    def __init__(self, path: Path, count: Callable[[int], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._count = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        size = self._file.readinto(buffer)
        self._count(size or 0)
        return size

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        before = self._file.tell()
        after = self._file.seek(offset, whence)
        self._count(after - before)
        return after

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
