"""A stream that removes terminal control sequences from everything the program prints.

Captures and peers choose many of the texts that are printed. Code that puts such a text into a line
or a table cell makes it printable there, so that it cannot start a line of its own. This module is
the last defence: it removes everything else that a terminal would act on, wherever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO, cast

from lbcproxy.text import printable

__all__ = ["SanitizedStream", "sanitize", "unwrapped"]

_STYLE = r"(?:[0-4]|22|39|49|[349][0-7]|10[0-7]|[34]8;5;[0-9]{1,3})"
STYLES = re.compile(rf"(\x1b\[{_STYLE}(?:;{_STYLE})*m)")
"""Colours and weights as click and rich write them, without those that hide text."""


def sanitize(text: str, *, styles: bool = False) -> str:
    """Return a text without control characters, except line feeds and tabs.

    Args:
        text: What is about to be printed.
        styles: Whether to keep sequences that set colours and weights.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    if styles:
        parts = STYLES.split(text)
        parts[::2] = [sanitize(each) for each in parts[::2]]
        return "".join(parts)
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


class SanitizedStream:
    """A text stream that sanitizes what is written to it; everything else is passed through."""

    def __init__(self, stream: TextIO) -> None:
        self.unwrapped = stream
        self._styles = stream.isatty()

    def write(self, text: str) -> int:
        """Write a text."""
        self.unwrapped.write(sanitize(text, styles=self._styles))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unwrapped, name)


def unwrapped(stream: TextIO) -> TextIO:
    """Return the stream below a sanitized one, for output that moves the cursor (progress bars)."""
    return cast("TextIO", getattr(stream, "unwrapped", stream))
