"""Where the log goes: lines for people or JSON, to the terminal or a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec
from twisted.logger import (
    ILogObserver,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)

from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import GATE
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
        self._file: TextIO | None = None

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
        opened = None if path is None else _opened(path)
        GATE.level = LogLevel.lookupByName(level)
        self._json = json
        if self._file is not None:
            self._file.close()
        self._path, self._file = path, opened

    def end(self) -> None:
        """Be a log no longer."""
        self.set(level="debug", path=None, json=False)
        self._terminal = None

    def reopen(self) -> None:
        """Open the file anew, where it was moved away."""
        if self._path is not None:
            opened, old = _opened(self._path), self._file
            self._file = opened
            if old is not None:
                old.close()

    def __call__(self, event: dict[str, Any]) -> None:
        """Log an event (Twisted's `ILogObserver`); never raises."""
        if self._file is None and self._terminal is None:
            return
        ours = str(event.get("log_namespace", "")).startswith(OURS)
        bad = event.get("log_level", LogLevel.info) >= LogLevel.warn
        if not (ours or bad):
            return
        line = json_line(event) if self._json else text_line(event)
        try:
            if self._file is not None:
                self._file.write(line + "\n")
                self._file.flush()
            elif self._terminal is not None:
                self._terminal(line, bad)
        except (OSError, ValueError):
            pass  # a full disk must not end the traffic; there is nobody left to tell


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


def _opened(path: str) -> TextIO:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        why = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
        raise LbcproxyError(f"cannot log to {path}: {why}") from error
