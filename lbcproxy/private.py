"""Files and folders that other users cannot read: captures and logs contain private data."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["ACCESS", "OWNER", "Access", "create", "make_folders", "open_to_append"]


class Access(NamedTuple):
    """The modes of new files and folders."""

    file: int
    folder: int


OWNER = Access(0o600, 0o700)
ACCESS = {"owner": OWNER, "group": Access(0o640, 0o750), "all": Access(0o644, 0o755)}
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folders(folder: Path, access: Access = OWNER, *, trusted: Path | None = None) -> None:
    """Make a folder and its missing parents; existing ones are not changed.

    Raises OSError if there is a symbolic link in the path below a `trusted` folder.
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
            each.chmod(access.folder)  # regardless of the umask
    if not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))


def create(path: Path, access: Access = OWNER, *, flags: int = os.O_WRONLY) -> int:
    """Create a file and return its descriptor; raises FileExistsError if the name is taken.

    A symbolic link is neither followed nor replaced, even if its target does not exist.
    """
    descriptor = os.open(path, flags | _NEW, access.file)
    os.fchmod(descriptor, access.file)  # regardless of the umask
    return descriptor


def open_to_append(path: Path, access: Access = OWNER) -> BinaryIO:
    """Open a file for appending, or create it; an existing file keeps its mode."""
    flags = os.O_WRONLY | os.O_APPEND
    try:
        descriptor = create(path, access, flags=flags)
    except FileExistsError:  # or a link whose target does not exist
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, access.file)
    return os.fdopen(descriptor, "ab", buffering=0)
