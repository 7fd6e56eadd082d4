"""What the program prints, screened: the one place through which all text goes out.

Captures and peers choose many texts that are printed. Where such a text has a place (a line, a cell
of a table) it is made printable there, so that it cannot begin a line of its own. Here nothing else
that a terminal would act on gets through, whoever wrote it.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

from lbcproxy.text import printable

__all__ = ["Screened", "screened", "unscreened"]

_STYLE = r"(?:[0-4]|22|39|49|[349][0-7]|10[0-7]|[34]8;5;[0-9]{1,3})"
STYLES = re.compile(rf"(\x1b\[{_STYLE}(?:;{_STYLE})*m)")
"""Colours and weights, as click and rich write them; not those that hide text."""


def screened(text: str, *, styles: bool = False) -> str:
    """Return a text without what a terminal would act on, but line feeds, tabs, and `styles`."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    if styles:
        parts = STYLES.split(text)
        parts[::2] = [screened(each) for each in parts[::2]]
        return "".join(parts)
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


class Screened:
    """A text stream that is written to through `screened`; otherwise it is that stream."""

    def __init__(self, stream: TextIO) -> None:
        self.unscreened = stream
        self._styles = stream.isatty()

    def write(self, text: str) -> int:
        """Write a text."""
        self.unscreened.write(screened(text, styles=self._styles))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unscreened, name)


def unscreened(stream: Any) -> TextIO:
    """Return the stream behind a screened one, for what moves the cursor: a bar, a line redrawn."""
    return getattr(stream, "unscreened", stream)  # type: ignore[no-any-return]
