"""The key log of the process: a line for each encrypted connection, appended to a file."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.private import make_folders, open_to_append
from lbcproxy.transport.key_log import LoggedSecret, format_line

__all__ = ["KeyLogFile"]

LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)
OTHERS = stat.S_IRGRP | stat.S_IROTH


class KeyLogFile:
    """The file that the secrets of encrypted connections are appended to, if one is configured.

    Each line is written at once, since somebody may want to read the connection while it lasts. If
    a line cannot be written, that is logged once, and traffic goes on.
    """

    def __init__(self) -> None:
        self.path: str | None = None
        """The file; None if secrets are not logged."""
        self._file: BinaryIO | None = None
        self._is_cut = False
        self.missing = 0
        """Connections whose line could not be written."""

    def set(self, path: str | None) -> None:
        """Log to another file, or to none; raises LbcproxyError, and nothing has changed then."""
        if path != self.path:
            self._change(path)

    def reopen(self) -> None:
        """Reopen the file, which may have been moved away; raises LbcproxyError."""
        self._change(self.path)

    def close(self) -> None:
        """Close the file."""
        if self.missing:
            LOG.warn(
                "{missing} connections are missing in the key log {path}",
                missing=self.missing,
                path=self.path,
            )
        self._change(None)

    def write(self, logged: LoggedSecret) -> None:
        """Append the line of a connection."""
        if self._file is None:
            return
        start = "\n" if self._is_cut else ""
        data = f"{start}{format_line(logged)}".encode()
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            self._is_cut = self._is_cut or written > 0
            if not self.missing:
                LOG.error(
                    "the key log {path} cannot be written: {why}; traffic goes on, and these "
                    "connections cannot be decrypted later",
                    path=self.path,
                    why=error.strerror,
                )
            self.missing += 1
        else:
            self._is_cut = False

    def _change(self, path: str | None) -> None:
        opened = None if path is None else _open(path)
        old, self._file, self.path = self._file, opened, path
        self._is_cut = False
        if old is not None:
            with suppress(OSError):
                old.close()


def _open(path: str) -> BinaryIO:
    """Open a key log, and warn if others can read it; raises LbcproxyError."""
    try:
        make_folders(Path(path).parent)
        if Path(path).is_fifo():
            raise LbcproxyError(f"key_log: {path} is a pipe, not a file")
        file = open_to_append(Path(path))
    except OSError as error:
        why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
        raise LbcproxyError(f"key_log: cannot append to {path}: {why}") from error
    if os.fstat(file.fileno()).st_mode & OTHERS:
        LOG.warn(
            "other users can read the key log {path}, and so the connections in it: chmod 600",
            path=path,
        )
    return file
