"""What happened to a message, in one word: the `verdict` of entries, lines and captures."""

from __future__ import annotations

import enum

__all__ = ["EntryVerdict"]


class EntryVerdict(enum.StrEnum):
    """What happened to a message between the two nodes.

    An entry that was read from a file has the word of the file, which may be another one.
    """

    PASS = "pass"  # noqa: S105  # not a password
    """It was sent as it arrived."""
    DROP = "drop"
    """It was not sent."""
    REWRITE = "rewrite"
    """Something else was sent in its place."""
    DELAY = "delay"
    """It was sent as it arrived, but later."""
    INJECT = "inject"
    """It did not arrive: a plugin, a fault or the proxy made it."""
