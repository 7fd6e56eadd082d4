"""Who writes a capture has it locked: nobody else writes it meanwhile, or writes over it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lbcproxy.errors import CaptureError

__all__ = ["locked", "take"]

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


def take(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file meanwhile, if there is a regular file at the path.

    Raises CaptureError if another process writes it. A file that cannot be opened, or whose file
    system has no locks, is nobody's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise CaptureError(f"{path} is being written by another process") from None
        yield
    finally:
        os.close(descriptor)
