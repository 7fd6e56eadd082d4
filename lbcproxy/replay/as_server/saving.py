"""Captures that are written whole, or not at all; a conversation as one."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lbcproxy.capture import Recorder
from lbcproxy.capture.recording.lock import locked
from lbcproxy.errors import CaptureError
from lbcproxy.replay.conversation import Conversation
from lbcproxy.session import Direction, Entry, Observer, Passage, SessionFacts

__all__ = ["recording_to", "save", "whole_file"]


def save(conversation: Conversation, path: Path, *more: Conversation) -> None:
    """Write a conversation, or several, in place of what is at a path; raises CaptureError."""
    with whole_file(path) as write:
        _write([conversation, *more], write)


@contextmanager
def whole_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Give what writes a file, which takes its place at the path when all is written.

    So nobody ever finds half of it; if something is raised, there is none. A disk that refuses, or
    a file that another process writes, raises CaptureError.
    """
    with locked(path):
        yield from _beside(path)


def _beside(path: Path) -> Iterator[Callable[[bytes], object]]:
    try:
        descriptor, name = tempfile.mkstemp(".part", path.name, path.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file.write
            part.chmod(0o666 & ~_umask())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CaptureError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def recording_to(path: Path, *, changes: bool) -> Iterator[Observer]:
    """Give an observer that records sessions of one network into a file, whole or not at all.

    `changes` tells that what goes out may differ from what came in. Raises CaptureError.
    """
    with whole_file(path) as write:
        yield _Recording(write, changes)


class _Recording(Observer):
    """A recorder that is made when the network is known: with the first session."""

    def __init__(self, write: Callable[[bytes], object], changes: bool) -> None:
        self._write = write
        self._changes = changes
        self._network = ""
        self._recorder: Recorder | None = None

    def started(self, facts: SessionFacts, time_ns: int) -> None:
        if self._recorder is None:
            self._network = facts.network
            self._recorder = Recorder(self._write, network=facts.network, changes=self._changes)
        if facts.network != self._network:
            raise CaptureError(
                f"session {facts.number} is of {facts.network}, those before it of "
                f"{self._network}: a capture of ours has one network"
            )
        self._recorder.started(facts, time_ns)

    def upstream_connected(self, facts: SessionFacts, time_ns: int) -> None:
        self._to().upstream_connected(facts, time_ns)

    def passed(
        self, facts: SessionFacts, direction: Direction, passages: Sequence[Passage], time_ns: int
    ) -> None:
        self._to().passed(facts, direction, passages, time_ns)

    def finished(self, facts: SessionFacts, direction: Direction, time_ns: int) -> None:
        self._to().finished(facts, direction, time_ns)

    def _to(self) -> Recorder:
        assert self._recorder is not None
        return self._recorder


def _write(conversations: Sequence[Conversation], write: Callable[[bytes], object]) -> None:
    recorder = Recorder(write, network=conversations[0].network.id)
    numbers = itertools.count(1)
    for session, conversation in enumerate(conversations, 1):
        facts = msgspec.structs.replace(conversation.facts, number=session)
        time_ns = conversation.turns[0].time_ns
        recorder.started(facts, time_ns)
        for turn, message in conversation:
            time_ns = max(time_ns, turn.time_ns)
            entry = Entry(
                number=next(numbers),
                time_ns=time_ns,
                session=session,
                direction=turn.direction,
                message=message,
            )
            recorder.passed(facts, turn.direction, [Passage(message.raw, (entry,))], time_ns)
        for direction in Direction:
            recorder.finished(facts, direction, time_ns)


def _umask() -> int:
    """Give the process's mask; the system tells it only to who sets another."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
