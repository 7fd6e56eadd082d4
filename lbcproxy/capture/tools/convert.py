"""Captures written again in another format, or changed: events in, a file out."""

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

__all__ = ["InputOverwritten", "Writer", "choose_format", "is_input", "writing"]


class InputOverwritten(CaptureError):
    """A file would be written over while it is read."""


def choose_format(path: Path, name: str | None = None) -> FormatWriter:
    """Give the format to write: the one that is named, else that of the path's suffix.

    Raises CaptureError if neither tells it.
    """
    if name is not None:
        return all_writers()[name]
    found = writer_for(path)
    if found is None:
        suffixes = sorted(suffix for each in all_formats() for suffix in each.suffixes)
        raise CaptureError(
            f"{path} does not tell its format by its suffix ({', '.join(suffixes)}, "
            "each with .gz or .zst too)"
        )
    return found


def is_input(target: Path, inputs: Iterable[Path], form: FormatWriter, *, in_place: bool) -> bool:
    """Return whether a file to be written is one that is read, by whatever name.

    That raises InputOverwritten except with `in_place`: then the file is written beside, and takes
    its place when all is written. A folder is written file by file, so that it never may.
    """
    folder, found = form.to_folder is not None, False
    for path in inputs:
        if _is_same(target, path) or (folder and target.resolve() in path.resolve().parents):
            if folder:
                raise InputOverwritten(f"{path} is read: a folder cannot be written over itself")
            if not in_place:
                raise InputOverwritten(f"{path} is read: it is not written over without --in-place")
            found = True
    return found


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


@contextmanager
def writing(
    target: Path | BinaryIO, form: FormatWriter, *, force: bool = False
) -> Iterator[Writer]:
    """Give what writes a capture; the file is there when all of it is, under its name.

    If something raises meanwhile, nothing is left; except for CaptureError with a place: then what
    was before the damage is kept. An existing file raises FileExistsError without `force`, one that
    cannot be written CaptureError.
    """
    if not isinstance(target, Path):
        writer = _file_writer(form, target.write)
        yield writer
        writer.close()
        target.flush()
    elif form.to_folder is not None:
        yield from _into_folder(target, form.to_folder, force)
    elif target.exists() and not target.is_file():  # a pipe, as /dev/fd/5
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
    """Write a file that takes its place when all of it is written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    begun = False
    try:
        with _named(path):
            raw = os.fdopen(create(part, _access_of(path)), "wb")
            begun = True
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
                raw.close()  # with what compressing left to the end
        if path.exists() and not force:  # it has come meanwhile
            raise FileExistsError(str(path))
        with _named(path):
            part.replace(path)
    except BaseException:
        if begun:
            with suppress(OSError):
                part.unlink()
        raise
    if damage is not None:
        raise damage


@contextmanager
def _closed_at_last(file: BinaryIO) -> Iterator[None]:
    """Close a file; if that fails, another failure is what is told."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def _access_of(path: Path) -> Access:
    """Return who may read a file that is written in place of another: who may read that."""
    try:
        return OWNER._replace(file=stat.S_IMODE(path.stat().st_mode))
    except OSError:
        return OWNER


def _into_folder(path: Path, to_folder: Callable[[Path], Writer], force: bool) -> Iterator[Writer]:
    """Write into a folder that is new or empty; with `force` beside what is in it."""
    existed = path.exists()
    if existed and (not path.is_dir() or any(path.iterdir())) and not force:
        raise FileExistsError(str(path))
    with _named(path):
        writer = to_folder(path)
        try:
            yield writer
            writer.close()
        except BaseException as error:
            with suppress(OSError):  # what is wrong already is told
                writer.close()
            if not existed and not (isinstance(error, CaptureError) and error.offset is not None):
                shutil.rmtree(path, ignore_errors=True)
            raise


def _file_writer(form: FormatWriter, write: Callable[[bytes], object]) -> Writer:
    if form.to_file is None:
        raise CaptureError(f"{form.name} is a folder, not a file")
    return form.to_file(write)


def _writes(file: BinaryIO, path: Path) -> Callable[[bytes], object]:
    """Give what writes to a file, and names it if that fails."""

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
