"""The files of a recording: when the next one begins, and what none of them could hold."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import CaptureFile, Notify
from lbcproxy.capture.recording.filename_pattern import file_name, fixed_folder, has_generated_names
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.private import OWNER, Access
from lbcproxy.session import Lost

__all__ = ["PER", "OpenFile", "RecordingSettings", "Rotation"]

PER = ("run", "listener", "session")
"""What has a file of its own."""
DISK_TIMEOUT = 1.0
"""Seconds that a session's bytes wait for the disk if there is no memory for them."""
MAX_DELAY_NS = 60 * 1_000_000_000
"""How much later than planned the next file may begin, so that no message is cut."""


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where sessions are recorded."""

    pattern: str
    """The path: `%` and a letter as in strftime (UTC), `{network}`, `{name}`, `{session}`; or `-`,
    the standard output."""
    per: str = "run"
    """One of `PER`."""
    legs: str = "auto"
    """One of `LEGS`."""
    rotate_size: int = 0
    """Bytes after which the next file begins; 0 for never."""
    rotate_every: float = 0.0
    """Seconds after which it does, counted from midnight UTC; 0 for never."""
    access: Access = OWNER
    """Who may read new files and folders."""


class OpenFile:
    """A file that is being written, and its recorder."""

    def __init__(self, file: CaptureFile, began_ns: int) -> None:
        self.file = file
        self.began_ns = began_ns
        self.size = 0
        self.left: set[int] = set()
        """Sessions of which it only holds the start."""
        self.uncertain: set[int] = set()
        """Sessions of which it may lack the start, because something was lost."""
        self._loses = False
        self.recorder: Recorder

    def write(self, data: bytes) -> None:
        """Write blocks."""
        self.size += len(data)
        self.file.write(data)

    def announce(self, number: int) -> None:
        """Write a session's endpoints again, while something is lost and once after that."""
        if not self._loses and not self.uncertain and not self.file.failing:
            return
        if self._loses and not self.file.failing:
            self.uncertain.update(self.recorder.open_sessions)
        self._loses = self.file.failing
        if self._loses or number in self.uncertain:
            self.uncertain.discard(number)
            if (session := self.recorder.open_sessions.get(number)) is not None:
                session.announce()


class Rotation:
    """Opens files that `disk` writes, one after another.

    The next file begins where no message is incomplete, but at the latest when the file is twice
    too long or a minute too late; open sessions continue in it.

    Args:
        settings: Where the files are and when the next one begins.
        disk: The thread that writes them.
        notify: Called with what happens to a file, and whether that is bad.
        network: The network's id.
        name: The proxy's name.
        changes: Whether the bytes sent may differ from those received.
        now: Returns the time of day, in nanoseconds since 1970.
        on_closed: Called with each file that is complete, in the disk's thread.
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
        now: Callable[[], int],
        on_closed: Callable[[CaptureFile], object],
    ) -> None:
        self._settings = settings
        self._disk = disk
        self.notify = notify
        self._network = network
        self._name = name
        self._changes = changes
        self.now = now
        self._on_closed = on_closed
        self._files: list[CaptureFile] = []  # those whose losses are not counted yet
        self._lost = Loss()
        self._may_wait = True
        self.is_closed = False
        """Whether no file may begin any more."""
        self.shared: OpenFile | None = None
        """The file that sessions share, if there is one now."""
        self.last: CaptureFile | None = None
        """The file that was begun last."""
        self.count = 0
        """How many files were begun."""

    @property
    def per_session(self) -> bool:
        """Whether each session has a file of its own."""
        return self._settings.per == "session"

    @property
    def lost(self) -> Loss:
        """What could not be recorded, over all files."""
        total = Loss()
        total += self._lost
        for file in self._files:
            total += file.lost
        return total

    def count_lost(self, lost: Lost, file: OpenFile | None) -> None:
        """Count what could not be recorded; the file says so, if there is one."""
        if file is not None:
            file.file.add_loss(lost.messages, lost.size)
        elif lost:
            self._lost += Loss(lost.messages, lost.size)

    def relieve(self) -> bool:
        """Wait until the disk has everything; only once for a disk that hangs."""
        self._may_wait = self._may_wait and self._disk.drain(DISK_TIMEOUT)
        return self._may_wait

    def open(self, *, fresh: bool) -> None:
        """Open the first shared file; raises CaptureError.

        It may continue an existing file, unless it has to be `fresh` or its name is generated.
        """
        if self.per_session:
            file_name(self._settings.pattern, network="", name="", session=0, time_ns=self.now())
            return
        fresh = fresh or has_generated_names(self._settings.pattern)
        shared = self.shared = self.begin(self.now(), fresh=fresh, at_once=True)
        if shared.file.continued:
            shared.size += shared.file.initial_size
            shared.began_ns = shared.file.last_written_ns

    def current(self, time_ns: int) -> OpenFile | None:
        """Return the shared file; the next one if it is time for that. None after the end."""
        if self.shared is None and not self.is_closed:
            self.shared = self.begin(time_ns)
        elif self.shared is not None and self.is_due(self.shared, time_ns):
            self.shared = self.next(self.shared, time_ns)
        return self.shared

    def is_due(self, file: OpenFile, time_ns: int) -> bool:
        """Return whether it is time for the next file."""
        if file.file.failing:
            return False  # another one would fail too, and this one has to say what is missing
        size, every = self._settings.rotate_size, int(self._settings.rotate_every * 1e9)
        if size and file.size >= size:
            return not file.recorder.in_message or file.size >= 2 * size
        if every and time_ns < file.began_ns - MAX_DELAY_NS:  # the clock was put back
            return not file.recorder.in_message
        if every and time_ns // every > file.began_ns // every:
            late = time_ns % every > MAX_DELAY_NS
            late = late or time_ns - file.began_ns > every + MAX_DELAY_NS
            return not file.recorder.in_message or late
        return False

    def next(
        self, file: OpenFile, time_ns: int, session: int | None = None, *, at_once: bool = False
    ) -> OpenFile:
        """Begin the next file, and continue the open sessions in it."""
        new = self.begin(time_ns, session, at_once=at_once)
        new.recorder.take_over(file.recorder, time_ns)
        file.file.close()
        return new

    def begin(
        self,
        time_ns: int,
        session: int | None = None,
        *,
        fresh: bool = True,
        at_once: bool = False,
    ) -> OpenFile:
        """Begin a file; one that is opened `at_once` may raise CaptureError.

        Other files are opened by the disk's thread.
        """
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
            self.notify,
            fresh=fresh and path != "-",
            on_closed=self._on_closed,
            access=self._settings.access,
            trusted=fixed_folder(self._settings.pattern),
        )
        if at_once:
            file.open()
        opened = OpenFile(file, time_ns)
        opened.recorder = Recorder(
            opened.write,
            network=self._network,
            legs=self._settings.legs,
            changes=self._changes,
            metadata={"name": self._name},
        )
        self._remember(file)
        return opened

    def _remember(self, file: CaptureFile) -> None:
        """Keep the losses of a file; of files that are long closed, only their sum."""
        self.last = file
        self.count += 1
        for done in [each for each in self._files if each.is_done]:
            self._files.remove(done)
            self._lost += done.lost
        self._files.append(file)
