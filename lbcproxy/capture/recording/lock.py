"""The lock of a capture while it is written: nothing else appends to it or overwrites it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lbcproxy.errors import CaptureError

__all__ = ["locked", "try_lock"]

_LOCKED_ELSEWHERE = (errno.EWOULDBLOCK, errno.EACCES)


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file at a path within a `with` block, if there is one.

    Raises CaptureError if another process writes it. A file that cannot be opened, or whose file
    system has no locks, counts as not written.
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
            if error.errno in _LOCKED_ELSEWHERE:
                raise CaptureError(f"{path} is being written by another process") from None
        yield
    finally:
        os.close(descriptor)
