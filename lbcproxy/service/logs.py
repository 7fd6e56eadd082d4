"""Where the log goes: lines for people or JSON, to the terminal or a file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from twisted.logger import (
    ILogObserver,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)

from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.private import OWNER, make_folders
from lbcproxy.text import printable

__all__ = ["Logs", "json_line", "text_line"]

OURS = "lbcproxy"
KEYS = ("time", "level", "logger", "text")


class Logs:
    """The log of the process: to a file if one is named, else to `terminal`, if there is one.

    `terminal` takes a line, and whether it is about something bad. What is below the level is not
    even formatted; of what others log (Twisted), warnings and worse are shown.
    """

    def __init__(self, terminal: Callable[[str, bool], object] | None) -> None:
        self._terminal = terminal
        self._json = False
        self._path: str | None = None
        self._file: _LogFile | None = None
        self._lost_before = 0
        self.why = ""
        """Why the last line that was lost could not be written."""

    @property
    def lost(self) -> int:
        """Lines that a file did not take."""
        return self._lost_before + (0 if self._file is None else self._file.lost)

    def begin(self) -> None:
        """Be the log of this process, in place of Twisted's."""
        globalLogBeginner.beginLoggingTo(
            [cast("ILogObserver", self)], redirectStandardIO=False, discardBuffer=True
        )

    def join(self) -> None:
        """Be a log beside what twistd has."""
        globalLogPublisher.addObserver(cast("ILogObserver", self))

    def set(self, *, level: str, path: str | None, json: bool) -> None:
        """Log from a level on, to a file or not; raises LbcproxyError if it cannot be opened."""
        opened = None if path is None else _LogFile(path, self._missing)
        LOG_FILTER.level = LogLevel.lookupByName(level)
        self._json = json
        self._path = path
        self._change_file(opened)

    def end(self) -> None:
        """Be a log no longer."""
        self.set(level="debug", path=None, json=False)
        self._terminal = None

    def reopen(self) -> None:
        """Open the file anew, where it was moved away."""
        if self._path is not None:
            self._change_file(_LogFile(self._path, self._missing))

    def _change_file(self, opened: _LogFile | None) -> None:
        old, self._file = self._file, opened
        if old is not None:
            old.close()
            self._lost_before += old.lost

    def __call__(self, event: dict[str, Any]) -> None:
        """Log an event (Twisted's `ILogObserver`); never raises."""
        if self._file is None and self._terminal is None:
            return
        ours = str(event.get("log_namespace", "")).startswith(OURS)
        bad = event.get("log_level", LogLevel.info) >= LogLevel.warn
        if not (ours or bad):
            return
        line = self._line(event)
        if self._file is None:
            self._say(line, bad)
            return
        failing = self._file.why
        self._file.write(line)
        if self._file.why != failing:
            self.why = self._file.why or self.why
            words = f"fails: {self._file.why}" if self._file.why else "goes on"
            self._say(f"lbcproxy: the log into {self._path} {words}", True)

    def _line(self, event: dict[str, Any]) -> str:
        return json_line(event) if self._json else text_line(event)

    def _missing(self, lines: int, why: str) -> str:
        """Give the line that says how many could not be written before it."""
        words = "{lines} lines of the log are missing: {why}"
        facts = {"log_namespace": "lbcproxy.service", "log_level": LogLevel.error}
        return self._line({**facts, "log_format": words, "lines": lines, "why": why})

    def _say(self, line: str, bad: bool) -> None:
        with suppress(OSError, ValueError):  # nobody is left to tell; the traffic goes on
            if self._terminal is not None:
                self._terminal(line, bad)


class _LogFile:
    """A file that lines are appended to, each at once; raises LbcproxyError if it cannot be opened.

    While it takes nothing, lines are counted; the next that it takes says how many are missing.
    """

    def __init__(self, path: str, note: Callable[[int, str], str]) -> None:
        self._note = note
        self.lost = 0
        """Lines that were not written."""
        self.why = ""
        """Why nothing can be written now; empty if it can."""
        self._missing = 0
        self._rest = b""  # of what was cut
        try:
            make_folders(Path(path).parent)
            self._descriptor = os.open(path, _flags(path), OWNER.file)
        except OSError as error:
            why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
            raise LbcproxyError(f"cannot log to {path}: {why}") from error

    def write(self, line: str) -> None:
        """Append a line, or count it."""
        if self._rest:
            self._rest = self._rest[self._append(self._rest) :]
        note = f"{self._note(self._missing, self.why)}\n" if self._missing else ""
        data = f"{note}{line}\n".encode(errors="backslashreplace")
        written = 0 if self._rest else self._append(data)
        if not written:
            self.lost += 1
            self._missing += 1
            return
        self._rest, self._missing = data[written:], 0
        if not self._rest:
            self.why = ""

    def close(self) -> None:
        """Close it; what was cut is written whole now, or lost."""
        rest = self._rest[self._append(self._rest) :]
        self.lost += rest.count(b"\n")
        with suppress(OSError):
            os.close(self._descriptor)

    def _append(self, data: bytes) -> int:
        """Return how many bytes the file takes."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self.why = error.strerror or str(error)
        return written


def _flags(path: str) -> int:
    """Say how a log is opened: a pipe so that it waits neither for a reader nor for its reading."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if Path(path).is_fifo():
        return os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
    return flags


def text_line(event: dict[str, Any]) -> str:
    """Give an event as `[07:43:17.658][#3 127.0.0.1:40866] upstream connect ...`, local time."""
    moment = float(event.get("log_time") or time.time())
    clock = time.strftime("%H:%M:%S", time.localtime(moment))
    text = _text(event)
    gap = "" if text.startswith("[#") else " "
    return f"[{clock}.{int(moment % 1 * 1000):03}]{gap}{text}"


def json_line(event: dict[str, Any]) -> str:
    """Give an event as one JSON object: time (UTC), level, text, and what it is about."""
    moment = datetime.fromtimestamp(float(event.get("log_time") or time.time()), UTC)
    level = event.get("log_level")
    facts = {
        key: value if isinstance(value, int | float | bool | None) else printable(str(value))
        for key, value in event.items()
        if not key.startswith("log_") and not callable(value) and key != "text"
    }
    return msgspec.json.encode(
        {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": "info" if level is None else level.name,
            "logger": str(event.get("log_namespace", "")),
            "text": _text(event),
            **{key: value for key, value in facts.items() if key not in KEYS},
        }
    ).decode()


def _text(event: dict[str, Any]) -> str:
    failure = event.get("log_failure")
    detail = f": {failure.getTraceback()}" if failure is not None else ""
    return printable(f"{formatEvent(event)}{detail}")
