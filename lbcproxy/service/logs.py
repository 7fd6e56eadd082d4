"""The log of the process: readable lines or JSON, to the terminal or a file."""

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

OWN_NAMESPACE = "lbcproxy"
KEYS = ("time", "level", "logger", "text")
"""Keys of a JSON line that every event has; those of the event itself come after them."""

LogEvent = dict[str, Any]
"""An event of `twisted.logger`."""


class Logs:
    """The log of the process: a file if one is configured, otherwise the terminal if there is one.

    Events below the level are not even formatted. Of the events of other libraries (Twisted), only
    warnings and errors are logged.

    Args:
        terminal: Called with each line, and whether it is a warning or an error.
    """

    def __init__(self, terminal: Callable[[str, bool], object] | None) -> None:
        self._terminal = terminal
        self._json = False
        self._path: str | None = None
        self._file: _LogFile | None = None
        self._lost_before = 0
        self.why = ""
        """Why the last lost line could not be written."""

    @property
    def lost(self) -> int:
        """Lines that could not be written to a file."""
        return self._lost_before + (0 if self._file is None else self._file.lost)

    def begin(self) -> None:
        """Become the log of this process, instead of Twisted's."""
        globalLogBeginner.beginLoggingTo(
            [cast("ILogObserver", self)], redirectStandardIO=False, discardBuffer=True
        )

    def join(self) -> None:
        """Become a log of this process, in addition to that of twistd."""
        globalLogPublisher.addObserver(cast("ILogObserver", self))

    def set(self, *, level: str, path: str | None, json: bool) -> None:
        """Change what is logged, and where.

        Args:
            level: The lowest level that is logged: debug, info, warn or error.
            path: The file; None for the terminal.
            json: Whether to log JSON objects instead of readable lines.

        Raises:
            LbcproxyError: The file cannot be opened; nothing has changed then.
        """
        opened = None if path is None else _LogFile(path, self._missing)
        LOG_FILTER.level = LogLevel.lookupByName(level)
        self._json = json
        self._path = path
        self._change_file(opened)

    def end(self) -> None:
        """Stop logging."""
        self.set(level="debug", path=None, json=False)
        self._terminal = None

    def reopen(self) -> None:
        """Reopen the file, which may have been moved away; raises LbcproxyError."""
        if self._path is not None:
            self._change_file(_LogFile(self._path, self._missing))

    def _change_file(self, opened: _LogFile | None) -> None:
        old, self._file = self._file, opened
        if old is not None:
            old.close()
            self._lost_before += old.lost

    def __call__(self, event: LogEvent) -> None:
        """Log an event (Twisted's `ILogObserver`); never raises."""
        if self._file is None and self._terminal is None:
            return
        is_ours = str(event.get("log_namespace", "")).startswith(OWN_NAMESPACE)
        is_bad = event.get("log_level", LogLevel.info) >= LogLevel.warn
        if not (is_ours or is_bad):
            return
        line = self._line(event)
        if self._file is None:
            self._print(line, is_bad)
            return
        reason_before = self._file.why
        self._file.write(line)
        if self._file.why != reason_before:
            self.why = self._file.why or self.why
            state = f"fails: {self._file.why}" if self._file.why else "works again"
            self._print(f"lbcproxy: the log to {self._path} {state}", True)

    def _line(self, event: LogEvent) -> str:
        return json_line(event) if self._json else text_line(event)

    def _missing(self, lines: int, why: str) -> str:
        """Return the line that says how many lines before it could not be written."""
        return self._line(
            {
                "log_namespace": "lbcproxy.service",
                "log_level": LogLevel.error,
                "log_format": "{lines} lines of the log are missing: {why}",
                "lines": lines,
                "why": why,
            }
        )

    def _print(self, line: str, is_bad: bool) -> None:
        with suppress(OSError, ValueError):  # it cannot be reported anywhere; traffic goes on
            if self._terminal is not None:
                self._terminal(line, is_bad)


class _LogFile:
    """A file that lines are appended to without buffering.

    While it cannot be written, lines are counted. The next one that can be is preceded by a line
    that says how many are missing.

    Args:
        path: The file.
        missing_line: Returns that line, given a number of lines and a reason.

    Raises:
        LbcproxyError: It cannot be opened.
    """

    def __init__(self, path: str, missing_line: Callable[[int, str], str]) -> None:
        self._missing_line = missing_line
        self.lost = 0
        """Lines that were not written."""
        self.why = ""
        """Why it cannot be written at the moment; empty if it can."""
        self._missing = 0
        self._rest = b""  # of data that was written in part
        try:
            make_folders(Path(path).parent)
            self._descriptor = os.open(path, _flags(path), OWNER.file)
        except OSError as error:
            why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
            raise LbcproxyError(f"cannot log to {path}: {why}") from error

    def write(self, line: str) -> None:
        """Append a line, or count it as missing."""
        if self._rest:
            self._rest = self._rest[self._append(self._rest) :]
        note = f"{self._missing_line(self._missing, self.why)}\n" if self._missing else ""
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
        """Close it; data that was written in part is completed now, or lost."""
        rest = self._rest[self._append(self._rest) :]
        self.lost += rest.count(b"\n")
        with suppress(OSError):
            os.close(self._descriptor)

    def _append(self, data: bytes) -> int:
        """Write data; return how many bytes the file accepted."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self.why = error.strerror or str(error)
        return written


def _flags(path: str) -> int:
    """Return the flags to open a log with: neither opening nor writing a pipe may block."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if Path(path).is_fifo():
        return os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
    return flags


def text_line(event: LogEvent) -> str:
    """Return an event as `[07:43:17.658][#3 127.0.0.1:40866] upstream connect ...`, local time."""
    moment = float(event.get("log_time") or time.time())
    clock = time.strftime("%H:%M:%S", time.localtime(moment))
    text = _text(event)
    gap = "" if text.startswith("[#") else " "
    return f"[{clock}.{int(moment % 1 * 1000):03}]{gap}{text}"


def json_line(event: LogEvent) -> str:
    """Return an event as one JSON object: time (UTC), level, logger, text, and its own keys."""
    moment = datetime.fromtimestamp(float(event.get("log_time") or time.time()), UTC)
    level = event.get("log_level")
    values = {
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
            **{key: value for key, value in values.items() if key not in KEYS},
        }
    ).decode()


def _text(event: LogEvent) -> str:
    failure = event.get("log_failure")
    detail = f": {failure.getTraceback()}" if failure is not None else ""
    return printable(f"{formatEvent(event)}{detail}")
