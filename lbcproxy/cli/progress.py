"""A progress bar on standard error while files are read."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import click

from lbcproxy.cli.screen import unscreened
from lbcproxy.text import printable

__all__ = ["reading"]

Opened = Callable[[Path], BinaryIO]

LONG = 2.0
"""Seconds from which on it is said how long it took."""


@contextmanager
def reading(*paths: Path, wanted: bool = True) -> Iterator[Opened]:
    """Give a way to open files that shows how far they have been read, while the context lasts.

    One bar for all of them, with megabytes a second; if it took long, a line behind it says how
    long and how fast. Nothing is shown unless standard error is a terminal and the files have ends.
    """
    dumb = os.environ.get("TERM") == "dumb"
    if not wanted or dumb or not sys.stderr.isatty() or not all(each.is_file() for each in paths):
        yield lambda path: path.open("rb")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    begin, counted = time.monotonic(), 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=unscreened(sys.stderr)),
        transient=True,
        redirect_stdout=False,  # what is printed goes where it should
        redirect_stderr=False,
    ) as bar:
        name = printable(paths[0].name, 40) if len(paths) == 1 else f"{len(paths)} files"
        total = sum(each.stat().st_size for each in paths)
        task = bar.add_task(escape(name), total=total)

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            bar.advance(task, size)

        yield lambda path: cast("BinaryIO", io.BufferedReader(_Counted(path, count), 1 << 18))
    seconds = time.monotonic() - begin
    if seconds >= LONG:
        speed = f"{counted / 1e6:,.1f} MB in {seconds:,.1f} s, {counted / seconds / 1e6:,.1f} MB/s"
        click.echo(f"lbcproxy: read {speed}", err=True)


class _Counted(io.RawIOBase):
    """A file that tells how much of it is read."""

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
        place = self._file.seek(offset, whence)
        self._count(place - before)
        return place

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
