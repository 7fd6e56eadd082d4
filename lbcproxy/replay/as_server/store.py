"""Writes captures atomically: complete, or not at all."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lbcproxy.capture import Recorder
from lbcproxy.capture.recording.filename_pattern import format_problem
from lbcproxy.capture.recording.lock import locked
from lbcproxy.errors import CaptureError
from lbcproxy.private import OWNER
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import Delivery, Direction, Entry, EventRouter
from lbcproxy.session.events import Delivered, DirectionClosed, SessionStarted

__all__ = ["save", "whole_file"]


def save(conversation: Conversation, path: Path, *more: Conversation) -> None:
    """Write one or more conversations to a capture, replacing it; raises CaptureError."""
    with whole_file(path) as write:
        _write([conversation, *more], write)


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Callable[[bytes], object]]:
    """Return a function that writes to a file, which replaces the path at the end.

    A reader never sees an incomplete file. If the block raises, the path is unchanged.

    Args:
        path: The pcapng file.
        shared: Whether a new file has the usual permissions, instead of the owner's alone.

    Raises:
        CaptureError: If the disk is full or read-only, another process writes the file, or the
            name is not that of a pcapng file.
    """
    if (why := format_problem(str(path))) is not None:
        raise CaptureError(f"{path}: {why}")
    with locked(path):
        yield from _beside(path, shared=shared)


def _beside(path: Path, *, shared: bool) -> Iterator[Callable[[bytes], object]]:
    try:
        descriptor, name = tempfile.mkstemp(".part", path.name, path.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file.write
            part.chmod(_mode_of(path, shared=shared))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CaptureError(f"cannot write {path}: {error.strerror}") from error


def _write(conversations: Sequence[Conversation], write: Callable[[bytes], object]) -> None:
    router = EventRouter(Recorder(write, network=conversations[0].network.id))
    numbers = itertools.count(1)
    for session, conversation in enumerate(conversations, 1):
        info = msgspec.structs.replace(conversation.info, number=session)
        time_ns = conversation.turns[0].time_ns
        router.handle(SessionStarted(info, time_ns))
        for turn, message in conversation:
            time_ns = max(time_ns, turn.time_ns)
            entry = Entry(
                number=next(numbers),
                time_ns=time_ns,
                session=session,
                direction=turn.direction,
                message=message,
            )
            delivery = Delivery(message.raw, (entry,))
            router.handle(Delivered(info, turn.direction, (delivery,), time_ns))
        for direction in Direction:
            router.handle(DirectionClosed(info, direction, time_ns))


def _mode_of(path: Path, *, shared: bool) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666 & ~_umask() if shared else OWNER.file


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
