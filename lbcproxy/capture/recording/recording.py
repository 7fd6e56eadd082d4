"""A recording: the files that sessions go to, one after another or side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import CaptureFile, Notify
from lbcproxy.capture.recording.filename_pattern import file_name, fixed_folder, has_generated_names
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.selection import select
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.session_state import Known
from lbcproxy.filters import Filter
from lbcproxy.private import OWNER, Access
from lbcproxy.session import Delivery, Direction, End, Lost, Observer, SessionInfo, SessionSummary

__all__ = ["PER", "Recording", "RecordingSettings"]

PER = ("run", "listener", "session")
"""What has a file of its own."""
PATIENCE = 1.0
"""Seconds that a session's bytes wait for the disk where there is no memory for them."""
OVERDUE = 60 * 1_000_000_000


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where sessions are recorded."""

    pattern: str
    """The path: `%` and a letter as strftime has it (UTC), `{network}`, `{name}`, `{session}`; or
    `-`, the standard output."""
    per: str = "run"
    """One of `PER`."""
    legs: str = "auto"
    """One of `LEGS`."""
    rotate_size: int = 0
    """Bytes after which a new file is begun; 0 for never."""
    rotate_every: float = 0.0
    """Seconds after which one is, counted from midnight UTC; 0 for never."""
    access: Access = OWNER
    """Who may read new files and folders."""


class _Part:
    """One file and who writes it."""

    def __init__(self, file: CaptureFile, began_ns: int) -> None:
        self.file = file
        self.began_ns = began_ns
        self.size = 0
        self.left: set[int] = set()
        """Sessions that it holds the beginning of only."""
        self.unsure: set[int] = set()
        """Sessions of which it may not hold the beginning, since something is lost."""
        self._loses = False
        self.recorder: Recorder

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.file.write(data)

    def announce(self, number: int) -> None:
        """Say again between whom a session is, while something is lost and once after that."""
        if not self._loses and not self.unsure and not self.file.failing:
            return
        if self._loses and not self.file.failing:
            self.unsure.update(self.recorder.open_sessions)
        self._loses = self.file.failing
        if self._loses or number in self.unsure:
            self.unsure.discard(number)
            self.recorder.announce(number)


class Recording(Observer):
    """Record sessions into files that `disk` writes.

    `told` hears what happens; of what passes only what `wanted` matches is recorded. A new file is
    begun where no message is under way, at the latest when it is twice too long or a minute too
    late; open sessions go on in it. `open` opens the first and raises CaptureError, where later
    ones are opened by the disk's thread. `closed` is told of each that is whole, in that thread.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        disk: Background,
        notify: Notify,
        *,
        network: str,
        name: str,
        changes: bool,
        wanted: Filter | None = None,
        now: Callable[[], int] = time.time_ns,
        on_closed: Callable[[CaptureFile], object] = bool,
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._notify = notify
        self._network = network
        self._name = name
        self._changes = changes
        self._wanted = wanted
        self._now = now
        self._on_closed = on_closed
        self._part: _Part | None = None
        self._parts: dict[int, _Part] = {}
        self._files: list[CaptureFile] = []  # those whose losses are not counted yet
        self._lost = Loss()
        self._closed = self._retired = False
        self._sessions: set[int] = set()
        self._defective: set[int] = set()
        self._may_wait = True
        self.last: CaptureFile | None = None
        """The file that was begun last."""
        self.files = 0
        """How many were begun."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be recorded."""
        return self._closed

    @property
    def lost(self) -> Loss:
        """What could not be recorded, over all files."""
        total = Loss()
        total += self._lost
        for file in self._files:
            total += file.lost
        return total

    def open(self, *, fresh: bool = False) -> None:
        """Open the first file, unless each session has its own; raises CaptureError.

        It may continue one that is there, unless it is to be `fresh` or its name is made by us.
        """
        if self._settings.per == "session":
            file_name(self._settings.pattern, network="", name="", session=0, time_ns=self._now())
        else:
            fresh = fresh or has_generated_names(self._settings.pattern)
            part = self._part = self._begin(self._now(), fresh=fresh, at_once=True)
            if part.file.continued:
                part.size += part.file.initial_size
                part.began_ns = part.file.last_written_ns

    def reopen(self) -> None:
        """Begin a new file for each that has been moved away or deleted, as log rotation does."""
        if self._part is not None and self._part.file.is_moved:
            self._part = self._replace(self._part, self._now(), None)
        for number, part in self._parts.items():
            if part.file.is_moved:
                self._parts[number] = self._replace(part, self._now(), number)

    def retire(self) -> None:
        """Close all files behind the last session; no more will begin."""
        self._retired = True
        if not self._sessions:
            self.close()

    def close(self) -> None:
        """Close all files, behind what waits to be written."""
        self._closed = True
        for part in (self._part, *self._parts.values()):
            if part is not None:
                part.file.close()
        self._part = None
        self._parts.clear()

    # On and off while sessions last.

    def expect(self, number: int) -> None:
        """Stay ready for a session that is not recorded now, until it is over."""
        self._sessions.add(number)

    def over(self, number: int) -> None:
        """Expect a session no longer; the last of what is retired closes it."""
        self._sessions.discard(number)
        self._defective.discard(number)
        if self._retired and not self._sessions:
            self.close()

    def join(self, known: Known, time_ns: int) -> None:
        """Record a session that has begun before, from now on; its file can be read alone.

        No file holds a session with a hole in it: one that has left goes on in the next. Raises
        CaptureError if there is none to be had.
        """
        self._begin_own(known.facts, time_ns, at_once=True)
        self.wake()
        if self._part is not None and known.facts.number in self._part.left:
            self._part = self._replace(self._part, time_ns, None, at_once=True)
        self._to(
            known.facts, time_ns, lambda recorder: recorder.join(known, time_ns, unrecorded=True)
        )

    def file_of(self, number: int) -> str | None:
        """Give the name of the file that a session goes to, if it is recorded; None if to none."""
        part = self._parts.get(number) or self._part
        return None if part is None else part.file.name

    def leave(self, number: int) -> None:
        """Record a session no more, though it goes on; a file of its own is closed."""
        own = self._parts.pop(number, None)
        part = own or self._part
        if part is not None:
            part.recorder.leave(number)
            part.left.add(number)
        if own is not None:
            own.file.close()

    def wake(self) -> None:
        """Have a file if sessions share one; raises CaptureError."""
        if self._part is None and self._settings.per != "session" and not self._closed:
            self._part = self._begin(self._now(), at_once=True)

    def rest(self) -> None:
        """Close the file if it has no open session; the next session begins another."""
        if self._part is not None and self._part.recorder.is_idle:
            self._part.file.close()
            self._part = None

    # What is told of sessions.

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Record it; with a file for each session, begin that."""
        self._begin_own(facts, time_ns)
        self._to(facts, time_ns, lambda recorder: recorder.started(facts, time_ns))

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Record it."""
        self._to(facts, time_ns, lambda recorder: recorder.upstream_connected(facts, time_ns))

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Record it, or of it what is wanted."""
        if self._wanted is not None:
            deliveries = select(self._wanted, facts, deliveries)
            if not deliveries:
                return
        part = self._current(facts, time_ns)
        if part is None:
            return
        part.announce(facts.number)
        part.file.messages = messages = sum(len(each.entries) for each in deliveries)
        try:
            part.recorder.passed(facts, direction, deliveries, time_ns)
        except Exception as error:
            part.file.messages = messages
            lost = part.recorder.passed_unread(facts, direction, deliveries, time_ns, self._relieve)
            self._say_defect(facts, error)
            self.missed(facts, Lost(messages=messages if lost else 0, size=lost), time_ns)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Count what could not be recorded, and have the file say it."""
        if not lost:
            return
        part = None if facts is None else self._parts.get(facts.number, self._part)
        if part is None:
            self._lost += Loss(lost.messages, lost.size)
        else:
            part.file.add_loss(lost.messages, lost.size)

    def gone(self, facts: SessionInfo, time_ns: int) -> None:
        """Leave a session open in the file, and close its own."""
        self.leave(facts.number)
        self.over(facts.number)

    def _relieve(self) -> bool:
        """Wait until the disk has what it was given; a disk that hangs is waited for once."""
        self._may_wait = self._may_wait and self._disk.drain(PATIENCE)
        return self._may_wait

    def _say_defect(self, facts: SessionInfo, error: Exception) -> None:
        if facts.number not in self._defective:
            self._defective.add(facts.number)
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._notify(f"session {facts.number} is recorded without notes: {what}", False)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Record it."""
        self._to(facts, time_ns, lambda recorder: recorder.ending(facts, end, time_ns))

    def finished(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Record it."""
        self._to(facts, time_ns, lambda recorder: recorder.finished(facts, direction, time_ns))

    def reset(self, facts: SessionInfo, direction: Direction, time_ns: int) -> None:
        """Record it."""
        self._to(facts, time_ns, lambda recorder: recorder.reset(facts, direction, time_ns))

    def ended(self, summary: SessionSummary, time_ns: int) -> None:
        """Record it, and close the session's own file."""
        self._to(summary.facts, time_ns, lambda recorder: recorder.ended(summary, time_ns))
        part = self._parts.pop(summary.facts.number, None)
        if part is not None:
            part.file.close()
        self.over(summary.facts.number)

    def _begin_own(self, facts: SessionInfo, time_ns: int, *, at_once: bool = False) -> None:
        self._sessions.add(facts.number)
        if self._settings.per == "session" and not self._closed:
            self._parts[facts.number] = self._begin(time_ns, facts.number, at_once=at_once)

    def _to(self, facts: SessionInfo, time_ns: int, tell: Callable[[Recorder], None]) -> None:
        part = self._current(facts, time_ns)
        if part is not None:
            part.announce(facts.number)
            tell(part.recorder)

    # Files.

    def _current(self, facts: SessionInfo, time_ns: int) -> _Part | None:
        number = facts.number if self._settings.per == "session" else None
        part = self._part if number is None else self._parts.get(number)
        if part is None and number is None and not self._closed:  # it rested
            part = self._part = self._begin(time_ns)
        if part is None or not self._is_full(part, time_ns):
            return part
        part = self._replace(part, time_ns, number)
        if number is None:
            self._part = part
        else:
            self._parts[number] = part
        return part

    def _is_full(self, part: _Part, time_ns: int) -> bool:
        if part.file.failing:
            return False  # another would fail as well, and this one has to say what is missing
        size, every = self._settings.rotate_size, int(self._settings.rotate_every * 1e9)
        if size and part.size >= size:
            return not part.recorder.in_message or part.size >= 2 * size
        if every and time_ns < part.began_ns - OVERDUE:  # the clock was put back
            return not part.recorder.in_message
        if every and time_ns // every > part.began_ns // every:
            late = time_ns % every > OVERDUE or time_ns - part.began_ns > every + OVERDUE
            return not part.recorder.in_message or late
        return False

    def _replace(
        self, part: _Part, time_ns: int, session: int | None, *, at_once: bool = False
    ) -> _Part:
        new = self._begin(time_ns, session, at_once=at_once)
        new.recorder.take_over(part.recorder, time_ns)
        part.file.close()
        return new

    def _begin(
        self,
        time_ns: int,
        session: int | None = None,
        *,
        fresh: bool = True,
        at_once: bool = False,
    ) -> _Part:
        path = file_name(
            self._settings.pattern,
            network=self._network,
            name=self._name,
            session=session,
            time_ns=time_ns,
        )
        file = CaptureFile(
            path,
            self._disk,
            self._notify,
            fresh=fresh and path != "-",
            on_closed=self._on_closed,
            access=self._settings.access,
            trusted=fixed_folder(self._settings.pattern),
        )
        if at_once:  # before the disk's thread would
            file.open()
        part = _Part(file, time_ns)
        part.recorder = Recorder(
            part.write,
            network=self._network,
            legs=self._settings.legs,
            changes=self._changes,
            metadata={"name": self._name},
        )
        self._remember(file)
        return part

    def _remember(self, file: CaptureFile) -> None:
        """Keep a file's losses; of files long closed only the sum."""
        self.last = file
        self.files += 1
        for done in [each for each in self._files if each.is_done]:
            self._files.remove(done)
            self._lost += done.lost
        self._files.append(file)
