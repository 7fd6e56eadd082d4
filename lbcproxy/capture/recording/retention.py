"""Old captures: compressed when they are whole, deleted when they are too many or too old."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from lbcproxy.capture.compression import (
    PART_SUFFIX,
    SUFFIXES,
    compress_file,
    has_same_content,
    open_decompressed,
)
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.formats.pcapng import SCHEMA
from lbcproxy.capture.packet import Section
from lbcproxy.capture.recording.age import Ages, Written
from lbcproxy.capture.recording.file import Told
from lbcproxy.capture.recording.filename_pattern import Made
from lbcproxy.errors import CaptureError

__all__ = ["Keeping", "Tidier"]

HEAD = 8192
"""Bytes in which the beginning of a file of ours tells that it is one."""


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of files that are whole."""

    size: int = 0
    """Bytes that all files of a pattern may have together; 0 for any number."""
    age: float = 0.0
    """Seconds after which one is deleted, from when it was last written; 0 for never."""
    compress: str = "none"
    """`gz`, `zst` or `none`."""

    def __bool__(self) -> bool:
        return bool(self.size or self.age or self.compress != "none")


class Tidier:
    """Tidies what one pattern has made, and nothing else.

    Touched is only what the pattern can have made, what is a plain file and a capture of
    lbcproxy's, and what nobody has open to write. `written` knows the files of this process.
    `go_on` is asked between pieces of work; `now` gives nanoseconds since 1970. What is done is
    told.
    """

    def __init__(
        self,
        pattern: str,
        keeping: Keeping,
        told: Told,
        *,
        network: str,
        name: str,
        now: Callable[[], int],
        written: Written | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        endings = (*SUFFIXES, *(each + PART_SUFFIX for each in SUFFIXES))
        self._made = Made(pattern, network=network, name=name, suffixes=endings)
        self._keeping = keeping
        self._told = told
        self._written = written or Written()
        self._ages = Ages(now, self._written)
        self._go_on = go_on
        self._ours: set[tuple[int, int]] = set()
        self._said: set[str] = set()

    def tidy(self) -> None:
        """Do what is to be done; never raises OSError."""
        self._delete()
        if self._keeping.compress != "none":
            self._compress()
            self._delete()

    # Deleting.

    def _delete(self) -> None:
        """Delete the oldest, while all together are too much, and those that are too old."""
        keeping = self._keeping
        if not keeping.size and not keeping.age:
            return
        files = [each for each in self._made.files() if not each[0].name.endswith(PART_SUFFIX)]
        total = sum(state.st_size for _, state in files)
        if keeping.size and total > keeping.size:  # of others' files none counts
            files = [each for each in files if self._is_ours(*each)]
            total = sum(state.st_size for _, state in files)
        for path, state in sorted(files, key=lambda each: (self._ages.order(each[1]), each[0])):
            too_old = bool(keeping.age) and self._ages.of(state) > keeping.age
            if not too_old and not (keeping.size and total > keeping.size):
                continue
            if self._is_ours(path, state) and self._remove(path):
                total -= state.st_size
                self._written.forget(state)
                why = "older than record_keep_age" if too_old else "more than record_keep_size"
                self._told(f"deleted {path}, {state.st_size:,} bytes: {why}", False)

    def _remove(self, path: Path) -> bool:
        try:
            with _alone(path) as file:
                if file is None:
                    return False
                path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._say_once(f"cannot delete {path}: {error.strerror}")
            return False
        return True

    # Compressing.

    def _compress(self) -> None:
        files = sorted(self._made.files(), key=lambda each: each[1].st_mtime_ns)
        for path in [path for path, _ in files if path.name.endswith(PART_SUFFIX)]:
            self._clean(path)
        for path, state in files:
            if not self._go_on():
                return
            if path.suffix not in (*SUFFIXES, PART_SUFFIX) and self._is_ours(path, state):
                self._pack(path, state)

    def _pack(self, path: Path, state: os.stat_result) -> None:
        size = state.st_size
        try:
            with _alone(path) as file:
                if file is None or self._is_packed(path, file):
                    return
                file.seek(0)
                done = compress_file(path, file, self._keeping.compress, self._go_on)
        except FileNotFoundError:
            return  # somebody else has taken it away
        except OSError as error:
            self._say_once(f"cannot compress {path}: {error.strerror or error}")
            return
        if done is not None:
            target, left = done
            with suppress(OSError):
                self._written.copied(state, target)
            self._told(f"compressed {path} to {target}: {size:,} to {left:,} bytes", False)

    def _is_packed(self, path: Path, file: BinaryIO) -> bool:
        """Whether a crash has left both; the original is then deleted."""
        for suffix in SUFFIXES:
            target = path.with_name(path.name + suffix)
            if not target.exists():
                continue
            try:
                with open_decompressed(target) as other:
                    file.seek(0)
                    same = has_same_content(file, other)
            except Exception:  # noqa: S112  # a copy may be damaged in many ways
                continue
            if same:
                path.unlink()
                return True
        return False

    def _clean(self, part: Path) -> None:
        """Delete a copy that was never finished, unless somebody is making it now."""
        original = part.with_name(Path(part.stem).stem)
        try:
            if not original.exists():
                part.unlink()
                return
            with _alone(original) as file:
                if file is not None:
                    part.unlink(missing_ok=True)
        except OSError as error:
            self._say_once(f"cannot delete {part}: {error.strerror}")

    # What is ours.

    def _is_ours(self, path: Path, state: os.stat_result) -> bool:
        key = (state.st_dev, state.st_ino)
        if key not in self._ours and _names_us(path):
            if len(self._ours) > 1 << 20:
                self._ours.clear()
            self._ours.add(key)
        return key in self._ours

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._told(text, True)


def _names_us(path: Path) -> bool:
    """Whether a file begins as lbcproxy's captures do."""
    try:
        with open_decompressed(path) as file:
            head = file.read(HEAD)
    except Exception:  # one may be damaged in many ways
        return False
    if not pcapng.matches(head):
        return False
    with suppress(CaptureError):
        for item in pcapng.read(io.BytesIO(head)):
            if not isinstance(item, Section):
                return False
            return any(_schema(text) == SCHEMA for text in item.custom)
    return False


def _schema(text: bytes | str) -> object:
    with suppress(msgspec.DecodeError):
        facts = msgspec.json.decode(text)
        return facts.get("schema") if isinstance(facts, dict) else None
    return None


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO | None]:
    """Open a file so that nobody begins to write it meanwhile; None if somebody writes it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        # Another may have taken its place before it was locked.
        same = os.path.samestat(path.lstat(), os.fstat(file.fileno()))
        yield file if same else None
