"""The exit codes of the program, the same for every command."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """What the program ends with."""

    OK = 0
    ERROR = 1
    """Something failed, at start or later."""
    USAGE = 2
    """The command line or the config is wrong."""
    DAMAGED = 3
    """A capture is damaged; everything before the damage has been processed."""
    DIFFERENT = 4
    """Two conversations differ."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""
