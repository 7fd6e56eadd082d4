"""Files and folders that nobody else may read: captures and logs hold what people sent."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["ACCESS", "OWNER", "Access", "create", "make_folders", "open_to_append"]


class Access(NamedTuple):
    """Who may read what we make: the modes of new files and folders."""

    file: int
    folder: int


OWNER = Access(0o600, 0o700)
ACCESS = {"owner": OWNER, "group": Access(0o640, 0o750), "all": Access(0o644, 0o755)}
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folders(folder: Path, access: Access = OWNER, *, trusted: Path | None = None) -> None:
    """Make a folder, and those above it that are missing; one that is there stays as it is.

    Below a `trusted` folder no symbolic link is followed: that raises OSError.
    """
    missing = []
    for each in (folder, *folder.parents):
        ours = trusted is not None and each != trusted and each.is_relative_to(trusted)
        if ours and each.is_symlink():
            raise OSError(errno.ELOOP, "a symbolic link stands in its path", str(each))
        if each.is_dir():
            continue
        missing.append(each)
    for each in reversed(missing):
        with suppress(FileExistsError):
            each.mkdir(access.folder)
            each.chmod(access.folder)  # whatever the umask is
    if not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))


def create(path: Path, access: Access = OWNER, *, flags: int = os.O_WRONLY) -> int:
    """Create a file and return its descriptor; FileExistsError for whatever has the name.

    A symbolic link is neither followed nor replaced, whether it leads somewhere or not.
    """
    descriptor = os.open(path, flags | _NEW, access.file)
    os.fchmod(descriptor, access.file)  # whatever the umask is
    return descriptor


def open_to_append(path: Path, access: Access = OWNER) -> BinaryIO:
    """Open a file to append to it, or create it; one that is there keeps its mode."""
    flags = os.O_WRONLY | os.O_APPEND
    try:
        descriptor = create(path, access, flags=flags)
    except FileExistsError:  # or a link that leads nowhere yet
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, access.file)
    return os.fdopen(descriptor, "ab", buffering=0)
