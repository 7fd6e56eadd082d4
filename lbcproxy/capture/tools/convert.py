"""Writes captures to files, in another format or changed: events in, a file out."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lbcproxy.capture.compression import compressing, suffix_of
from lbcproxy.capture.formats import all_formats
from lbcproxy.capture.recording.lock import locked
from lbcproxy.capture.writing import all_writers, writer_for
from lbcproxy.capture.writing.writer import FormatWriter, Writer
from lbcproxy.errors import CaptureError
from lbcproxy.private import OWNER, Access, create

__all__ = ["InputOverwritten", "Writer", "choose_format", "is_input", "open_writer"]


class InputOverwritten(CaptureError):
    """A file would be overwritten while it is being read."""


def choose_format(path: Path, name: str | None = None) -> FormatWriter:
    """Return the format to write: the named one, otherwise the one of the path's suffix.

    Raises CaptureError if the suffix belongs to no format.
    """
    if name is not None:
        return all_writers()[name]
    found = writer_for(path)
    if found is None:
        written = [each for each in all_formats() if each.name in all_writers()]
        suffixes = sorted(suffix for each in written for suffix in each.suffixes)
        raise CaptureError(
            f"the suffix of {path} is not that of a format that can be written "
            f"({', '.join(suffixes)}, "
            "optionally followed by .gz or .zst)"
        )
    return found


def is_input(target: Path, inputs: Iterable[Path], form: FormatWriter, *, in_place: bool) -> bool:
    """Return whether the target is one of the inputs, even under another name.

    If it is, InputOverwritten is raised unless `in_place` is set. With `in_place`, a temporary file
    replaces the input once it is complete. A folder is written file by file, so it is never
    written in place.
    """
    folder, found = form.to_folder is not None, False
    for path in inputs:
        if _is_same(target, path) or (folder and target.resolve() in path.resolve().parents):
            if folder:
                raise InputOverwritten(
                    f"{path} is being read: a folder cannot be overwritten in place"
                )
            if not in_place:
                raise InputOverwritten(f"{path} is being read: overwrite it with --in-place")
            found = True
    return found


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


@contextmanager
def open_writer(
    target: Path | BinaryIO, form: FormatWriter, *, force: bool = False
) -> Iterator[Writer]:
    """Return a context manager for the writer of a capture.

    The file appears under its name once it is complete. If the body raises, nothing is left of it,
    with one exception: after a CaptureError with an offset, what came before the damage is kept.

    Args:
        target: A path, or an open file.
        form: The format.
        force: Whether an existing file may be replaced.

    Raises:
        FileExistsError: The file exists and `force` is not set.
        CaptureError: The file cannot be written.
    """
    if not isinstance(target, Path):
        writer = _file_writer(form, target.write)
        yield writer
        writer.close()
        target.flush()
    elif form.to_folder is not None:
        yield from _into_folder(target, form.to_folder, force)
    elif target.exists() and not target.is_file():  # a pipe, such as /dev/fd/5
        with _named(target), target.open("wb") as file:
            writer = _file_writer(form, _writes(file, target))
            yield writer
            writer.close()
    else:
        yield from _into_file(target, form, force)


def _into_file(path: Path, form: FormatWriter, force: bool) -> Iterator[Writer]:
    if path.exists() and not force:
        raise FileExistsError(str(path))
    with locked(path):
        yield from _beside(path, form, force)


def _beside(path: Path, form: FormatWriter, force: bool) -> Iterator[Writer]:
    """Write a temporary file that takes the name of the path once it is complete."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    is_created = False
    try:
        with _named(path):
            raw = os.fdopen(create(part, _access_of(path)), "wb")
            is_created = True
        with _closed_at_last(raw):
            suffix = suffix_of(path)
            file = compressing(suffix, raw) if suffix else raw
            writer = _file_writer(form, _writes(file, path))
            damage: CaptureError | None = None
            try:
                yield writer
            except CaptureError as error:
                if error.offset is None:
                    raise
                damage = error
            writer.close()
            with _named(path):
                file.close()
                raw.close()  # compression may write its last bytes only now
        if path.exists() and not force:  # it was created while we were writing
            raise FileExistsError(str(path))
        with _named(path):
            part.replace(path)
    except BaseException:
        if is_created:
            with suppress(OSError):
                part.unlink()
        raise
    if damage is not None:
        raise damage


@contextmanager
def _closed_at_last(file: BinaryIO) -> Iterator[None]:
    """Close a file at the end; a failure to close does not hide an earlier one."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def _access_of(path: Path) -> Access:
    """Return the access of the file that is replaced, or that of a new file."""
    try:
        return OWNER._replace(file=stat.S_IMODE(path.stat().st_mode))
    except OSError:
        return OWNER


def _into_folder(path: Path, to_folder: Callable[[Path], Writer], force: bool) -> Iterator[Writer]:
    """Write into a folder; without `force`, it has to be new or empty."""
    existed = path.exists()
    if existed and (not path.is_dir() or any(path.iterdir())) and not force:
        raise FileExistsError(str(path))
    with _named(path):
        writer = to_folder(path)
        try:
            yield writer
            writer.close()
        except BaseException as error:
            with suppress(OSError):  # the first error is the one to report
                writer.close()
            if not existed and not (isinstance(error, CaptureError) and error.offset is not None):
                shutil.rmtree(path, ignore_errors=True)
            raise


def _file_writer(form: FormatWriter, write: Callable[[bytes], object]) -> Writer:
    if form.to_file is None:
        raise CaptureError(f"{form.name} is a folder, not a file")
    return form.to_file(write)


def _writes(file: BinaryIO, path: Path) -> Callable[[bytes], object]:
    """Return a function that writes to a file; errors name the file."""

    def write(data: bytes) -> None:
        with _named(path):
            file.write(data)

    return write


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CaptureError(f"cannot write {path}: {error.strerror}") from error
