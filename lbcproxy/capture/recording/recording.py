"""A recording: an observer that writes the sessions of a proxy to files."""

from __future__ import annotations

import time
from collections.abc import Callable

from lbcproxy.background import Background
from lbcproxy.capture.recording.file import CaptureFile, Notify
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.rotation import PER, OpenFile, RecordingSettings, Rotation
from lbcproxy.capture.recording.selection import select
from lbcproxy.capture.writing.recorder import SessionRecorder
from lbcproxy.capture.writing.session_state import SessionState
from lbcproxy.deprecated import DeprecatedAttribute, renamed_parameters
from lbcproxy.filters import Filter
from lbcproxy.session import Lost, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    NotRecorded,
    ObserverDropped,
    SessionEnded,
    SessionEvent,
    SessionStarted,
)

__all__ = ["PER", "RecordedSession", "Recording", "RecordingSettings"]


class Recording:
    """Records sessions to files. `Rotation` says when the next file begins.

    Args:
        settings: Where the files are and when the next one begins.
        disk: Writes them, in its own thread.
        notify: Called with what happens to a file, and whether that is bad.
        network: The network's id.
        name: The proxy's name.
        changes: Whether the bytes sent may differ from those received.
        selection: A filter of the messages to be recorded; None for all.
        now: Returns nanoseconds since 1970.
        on_closed: Called with each complete file, in the disk's thread.
    """

    over = DeprecatedAttribute("forget")

    @renamed_parameters(told="notify", wanted="selection", closed="on_closed")
    def __init__(
        self,
        settings: RecordingSettings,
        disk: Background,
        notify: Notify,
        *,
        network: str,
        name: str,
        changes: bool,
        selection: Filter | None = None,
        now: Callable[[], int] = time.time_ns,
        on_closed: Callable[[CaptureFile], object] = bool,
    ) -> None:
        self._rotation = Rotation(
            settings,
            disk,
            notify,
            network=network,
            name=name,
            changes=changes,
            now=now,
            on_closed=on_closed,
        )
        self._selection = selection
        self._sessions: dict[int, RecordedSession] = {}
        self._retired = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be recorded."""
        return self._rotation.is_closed

    @property
    def lost(self) -> Loss:
        """What could not be recorded, over all files."""
        return self._rotation.lost

    @property
    def last(self) -> CaptureFile | None:
        """The file that was begun last."""
        return self._rotation.last

    @property
    def files(self) -> int:
        """How many files were begun."""
        return self._rotation.count

    @property
    def file_name(self) -> str | None:
        """The name of the file that sessions share; None if there is none now."""
        shared = self._rotation.shared
        return None if shared is None else shared.file.name

    def open(self, *, fresh: bool = False) -> None:
        """Open the first file, unless each session has its own.

        It may continue an existing file, unless it has to be `fresh` or we make up its name.

        Raises:
            CaptureError: If it cannot be opened. Later files are opened by the disk's thread.
        """
        self._rotation.open(fresh=fresh)

    def reopen(self) -> None:
        """Begin a new file for each that was moved away or deleted, as log rotation does."""
        rotation = self._rotation
        if rotation.shared is not None and rotation.shared.file.is_moved:
            rotation.shared = rotation.next(rotation.shared, rotation.now())
        for session in self._sessions.values():
            session.reopen(rotation.now())

    def retire(self) -> None:
        """Close all files after the last session; no more will begin."""
        self._retired = True
        if not self._sessions:
            self.close()

    def close(self) -> None:
        """Close all files, after everything queued."""
        rotation = self._rotation
        rotation.is_closed = True
        if rotation.shared is not None:
            rotation.shared.file.close()
            rotation.shared = None
        for session in self._sessions.values():
            session.close_file()

    def wake(self) -> None:
        """Begin the file that sessions share, if there is none; raises CaptureError."""
        rotation = self._rotation
        if rotation.shared is None and not rotation.per_session and not rotation.is_closed:
            rotation.shared = rotation.begin(rotation.now(), at_once=True)

    def rest(self) -> None:
        """Close the file if it has no open session; the next session begins another."""
        rotation = self._rotation
        if rotation.shared is not None and rotation.shared.recorder.is_idle:
            rotation.shared.file.close()
            rotation.shared = None

    def session_started(self, info: SessionInfo) -> RecordedSession:
        """Return what records one session; the recording stays open until that is over."""
        session = RecordedSession(self, self._rotation, self._selection, info.number)
        self._sessions[info.number] = session
        return session

    def forget(self, number: int) -> None:
        """Forget a session that is over; the last one of a retired recording closes it."""
        self._sessions.pop(number, None)
        if self._retired and not self._sessions:
            self.close()


class RecordedSession:
    """Records one session, in the shared file or in one of its own."""

    def __init__(
        self, recording: Recording, rotation: Rotation, selection: Filter | None, number: int
    ) -> None:
        self._recording = recording
        self._rotation = rotation
        self._selection = selection
        self._number = number
        self._own: OpenFile | None = None
        self._session: SessionRecorder | None = None
        self._is_defective = False

    @property
    def _file(self) -> OpenFile | None:
        return self._own or self._rotation.shared

    @property
    def file_name(self) -> str | None:
        """The name of the file that the session goes to; None if there is none."""
        file = self._file
        return None if file is None else file.file.name

    def handle(self, event: SessionEvent) -> None:
        """Record what happened next."""
        match event:
            case Delivered():
                self._deliver(event)
            case NotRecorded():
                self._count_lost(event.lost)
            case ObserverDropped():
                self.leave()
                self.forget()
            case SessionStarted():
                self._begin_own(event.time_ns)
                if (file := self._current(event.time_ns)) is not None:
                    file.announce(self._number)
                    self._session = file.recorder.session_started(event.info)
                    self._session.handle(event)
            case _:
                if (file := self._current(event.time_ns)) is not None and self._session is not None:
                    file.announce(self._number)
                    self._session.handle(event)
                if isinstance(event, SessionEnded):
                    self.close_file()
                    self.forget()

    def join(self, state: SessionState, time_ns: int) -> None:
        """Record a session that started earlier, from now on; its file can be read alone.

        No file holds a session with a hole in it: one that was left continues in the next file.

        Raises:
            CaptureError: If there is no file to be had.
        """
        self._begin_own(time_ns, at_once=True)
        self._recording.wake()
        shared = self._rotation.shared
        if shared is not None and self._number in shared.left:
            self._rotation.shared = self._rotation.next(shared, time_ns, at_once=True)
        if (file := self._current(time_ns)) is not None:
            file.announce(self._number)
            self._session = file.recorder.join(state, time_ns, unrecorded=True)

    def leave(self) -> None:
        """Record nothing more of the session, though it goes on; close a file of its own."""
        file, session, self._session = self._file, self._session, None
        if file is not None:
            if session is not None:
                session.leave()
            file.left.add(self._number)
        self.close_file()

    def forget(self) -> None:
        """Have the recording forget the session."""
        self._recording.forget(self._number)

    def reopen(self, time_ns: int) -> None:
        """Begin a new file of its own if that was moved away or deleted."""
        if self._own is not None and self._own.file.is_moved:
            self._own = self._rotation.next(self._own, time_ns, self._number)

    def close_file(self) -> None:
        """Close a file of its own."""
        own, self._own = self._own, None
        if own is not None:
            own.file.close()

    def _begin_own(self, time_ns: int, *, at_once: bool = False) -> None:
        if self._rotation.per_session and not self._rotation.is_closed:
            self._own = self._rotation.begin(time_ns, self._number, at_once=at_once)

    def _current(self, time_ns: int) -> OpenFile | None:
        if not self._rotation.per_session:
            return self._rotation.current(time_ns)
        if self._own is not None and self._rotation.is_due(self._own, time_ns):
            self._own = self._rotation.next(self._own, time_ns, self._number)
        return self._own

    def _deliver(self, event: Delivered) -> None:
        deliveries = event.deliveries
        if self._selection is not None:
            deliveries = select(self._selection, event.info, deliveries)
            if not deliveries:
                return
        file, session = self._current(event.time_ns), self._session
        if file is None or session is None:
            return
        file.announce(self._number)
        file.file.messages = messages = sum(len(each.entries) for each in deliveries)
        try:
            session.deliver(event.direction, deliveries, event.time_ns)
        except Exception as error:
            file.file.messages = messages
            size = session.deliver_unread(
                event.direction, deliveries, event.time_ns, self._rotation.relieve
            )
            self._report(error)
            self._count_lost(Lost(messages=messages if size else 0, size=size))

    def _report(self, error: Exception) -> None:
        if not self._is_defective:
            self._is_defective = True
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._rotation.notify(
                f"session {self._number} is recorded without notes: {what}", False
            )

    def _count_lost(self, lost: Lost) -> None:
        if lost:
            self._rotation.count_lost(lost, self._file)
