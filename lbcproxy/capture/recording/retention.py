"""Finished captures: compressed, and deleted when they are too large together or too old."""

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
from lbcproxy.capture.recording.file import Notify
from lbcproxy.capture.recording.file_ages import FileAges, FinishedFiles
from lbcproxy.capture.recording.filename_pattern import FilesOfPattern
from lbcproxy.errors import CaptureError

__all__ = ["Retention", "RetentionPolicy"]

HEAD_SIZE = 8192
"""How many bytes at the start of a file are enough to recognise lbcproxy's own captures."""
MAX_KNOWN_FILES = 1 << 20


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to finished captures."""

    size: int = 0
    """Bytes that all files of a pattern may have together; 0 for no limit."""
    age: float = 0.0
    """Seconds since the last write after which a file is deleted; 0 for never."""
    compress: str = "none"
    """`gz`, `zst` or `none`."""

    def __bool__(self) -> bool:
        return bool(self.size or self.age or self.compress != "none")


class Retention:
    """Applies a policy to the files that one pattern has made.

    It only touches regular files whose names the pattern can have made, that are captures of
    lbcproxy, and that no process is writing.

    Args:
        pattern: The pattern of file names.
        policy: What happens to the files.
        notify: Called with what was done.
        network: The network's id in the file names.
        name: The proxy's name in the file names.
        now: Returns nanoseconds since 1970.
        finished: The files that this process has finished.
        should_continue: Asked between steps; False ends the work.
    """

    def __init__(
        self,
        pattern: str,
        policy: RetentionPolicy,
        notify: Notify,
        *,
        network: str,
        name: str,
        now: Callable[[], int],
        finished: FinishedFiles | None = None,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> None:
        suffixes = (*SUFFIXES, *(each + PART_SUFFIX for each in SUFFIXES))
        self._files = FilesOfPattern(pattern, network=network, name=name, suffixes=suffixes)
        self._policy = policy
        self._notify = notify
        self._finished = finished or FinishedFiles()
        self._ages = FileAges(now, self._finished)
        self._should_continue = should_continue
        self._ours: set[tuple[int, int]] = set()
        self._notified: set[str] = set()

    def apply(self) -> None:
        """Delete and compress files as the policy says; never raises OSError."""
        self._delete()
        if self._policy.compress != "none":
            self._compress()
            self._delete()

    # Deleting.

    def _delete(self) -> None:
        """Delete files that are too old, and the oldest while all together are too large."""
        policy = self._policy
        if not policy.size and not policy.age:
            return
        files = [each for each in self._files.files() if not each[0].name.endswith(PART_SUFFIX)]
        total = sum(state.st_size for _, state in files)
        if policy.size and total > policy.size:  # files of other programs do not count
            files = [each for each in files if self._is_ours(*each)]
            total = sum(state.st_size for _, state in files)
        for path, state in sorted(files, key=lambda each: (self._ages.order(each[1]), each[0])):
            too_old = bool(policy.age) and self._ages.of(state) > policy.age
            if not too_old and not (policy.size and total > policy.size):
                continue
            if self._is_ours(path, state) and self._remove(path):
                total -= state.st_size
                self._finished.forget(state)
                reason = "older than record_keep_age" if too_old else "more than record_keep_size"
                self._notify(f"deleted {path}, {state.st_size:,} bytes: {reason}", False)

    def _remove(self, path: Path) -> bool:
        try:
            with _locked(path) as file:
                if file is None:
                    return False
                path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._notify_once(f"cannot delete {path}: {error.strerror}")
            return False
        return True

    # Compressing.

    def _compress(self) -> None:
        files = sorted(self._files.files(), key=lambda each: each[1].st_mtime_ns)
        for path in [path for path, _ in files if path.name.endswith(PART_SUFFIX)]:
            self._remove_part(path)
        for path, state in files:
            if not self._should_continue():
                return
            if path.suffix not in (*SUFFIXES, PART_SUFFIX) and self._is_ours(path, state):
                self._compress_one(path, state)

    def _compress_one(self, path: Path, state: os.stat_result) -> None:
        size = state.st_size
        try:
            with _locked(path) as file:
                if file is None or self._drop_if_compressed(path, file):
                    return
                file.seek(0)
                done = compress_file(path, file, self._policy.compress, self._should_continue)
        except FileNotFoundError:
            return  # another process has removed it
        except OSError as error:
            self._notify_once(f"cannot compress {path}: {error.strerror or error}")
            return
        if done is not None:
            target, left = done
            with suppress(OSError):
                self._finished.add_copy(state, target)
            self._notify(f"compressed {path} to {target}: {size:,} to {left:,} bytes", False)

    def _drop_if_compressed(self, path: Path, file: BinaryIO) -> bool:
        """Delete the original if a crash has left both files; return whether it has."""
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

    def _remove_part(self, part: Path) -> None:
        """Delete an unfinished copy, unless another process is making it now."""
        original = part.with_name(Path(part.stem).stem)
        try:
            if not original.exists():
                part.unlink()
                return
            with _locked(original) as file:
                if file is not None:
                    part.unlink(missing_ok=True)
        except OSError as error:
            self._notify_once(f"cannot delete {part}: {error.strerror}")

    # Which files are ours.

    def _is_ours(self, path: Path, state: os.stat_result) -> bool:
        key = (state.st_dev, state.st_ino)
        if key not in self._ours and _is_own_capture(path):
            if len(self._ours) > MAX_KNOWN_FILES:
                self._ours.clear()
            self._ours.add(key)
        return key in self._ours

    def _notify_once(self, text: str) -> None:
        if text not in self._notified:
            self._notified.add(text)
            self._notify(text, True)


def _is_own_capture(path: Path) -> bool:
    """Return whether a file begins like lbcproxy's captures."""
    try:
        with open_decompressed(path) as file:
            head = file.read(HEAD_SIZE)
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
        header = msgspec.json.decode(text)
        return header.get("schema") if isinstance(header, dict) else None
    return None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """Open a file and lock it against writers; yield None if one has locked it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        # Another file may have replaced it before it was locked.
        same = os.path.samestat(path.lstat(), os.fstat(file.fileno()))
        yield file if same else None
