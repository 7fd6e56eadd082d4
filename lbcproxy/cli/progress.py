"""A progress bar on standard error while a file is read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lbcproxy.text import printable

__all__ = ["reading"]

Opened = Callable[[Path], BinaryIO]


@contextmanager
def reading(path: Path, *, wanted: bool = True) -> Iterator[Opened]:
    """Give a way to open a file that shows how far it has been read, while the context lasts.

    Nothing is shown unless standard error is a terminal and the file has an end.
    """
    dumb = os.environ.get("TERM") == "dumb"
    if not wanted or dumb or not sys.stderr.isatty() or not path.is_file():
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
    )

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # what is printed goes where it should
        redirect_stderr=False,
    ) as bar:
        name = escape(printable(path.name, 40))

        def opened(path: Path) -> BinaryIO:
            raw = bar.open(path, "rb", buffering=0, description=name)
            return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18))

        yield opened
